"""A page in a headless Chromium that runs a file in onnxruntime-web.

chromium    the browser's process, spoken to over its debugging pipe (Chrome DevTools Protocol)
server      what the page loads, and where it leaves its answers: on the loopback, behind a secret
page        the page itself, as calls: `page.mjs` is its side
"""
