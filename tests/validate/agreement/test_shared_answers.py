"""Which run is likened to which, and what stands in a verdict that another run's answers gave."""

from __future__ import annotations

from pathlib import Path

from validate.agreement.compare import _turn
from validate.agreement.judging.gates import gate_for
from validate.agreement.jury import Answered
from validate.agreement.processes import Entry
from validate.agreement.results import Ran, Verdict
from validate.agreement.rows import AGREE
from validate.targets import Device, Place

FILE = Path("m.float32.tflite")
OPENVINO, ARM = Place(Device.OPENVINO), Place(Device("arm64:cortex-a76"))


def answered(place: Place, *notes: str) -> Answered:
    entry = Entry(FILE, place)
    ran = {"runtime": "tflite", "runtime_version": "2", "answers": "d1g35t", "notes": list(notes)}
    return Answered(entry, "0", ran, gate_for(entry.precision, {}))


def test_the_host_has_its_turn_before_all_that_may_be_likened_to_it() -> None:
    """Whatever order the files came in: of an ONNX file before, OpenVINO's process is there already."""
    processes = {
        "elsewhere:arm64": {4: Entry(FILE, ARM)},
        "openvino": {1: Entry(FILE, OPENVINO), 3: Entry(FILE, OPENVINO)},
        "tflite": {2: Entry(FILE)},
        "saved_model": {0: Entry(FILE)},
    }
    order = sorted(processes, key=lambda name: _turn(name, processes[name]))
    assert order == ["saved_model", "tflite", "openvino", "elsewhere:arm64"]


def test_a_shared_verdict_has_the_notes_of_its_own_run() -> None:
    host, arm = answered(Place(), "of the host alone"), answered(ARM, "tflite is 1 there and 2 here")
    assert host.same == arm.same
    verdict = Verdict(FILE, AGREE, "fine", notes=("of the checkpoint", "of the host alone"), ran=host.ran)
    shared = arm.shared(host, verdict)
    assert shared.notes == ("of the checkpoint", "tflite is 1 there and 2 here")
    assert shared.same_as == "host, default"
    assert (shared.target, shared.status, shared.ran) == ("arm64:cortex-a76", AGREE, arm.ran)
    assert Ran().place == verdict.ran.place
