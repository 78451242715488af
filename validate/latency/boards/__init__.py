"""Timing on other machines: a board over ssh, a phone over adb."""
