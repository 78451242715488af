"""Writes converters/readers/tensorflow_ops.txt: the operations that a SavedModel may consist of, one a line.

All of the installed TensorFlow's operations, less those that reach files, other processes, devices of a cluster, Python
or the clock, less those of training pipelines and of TensorFlow's own tests. Read the difference before committing it:
a new operation is let in only where its name tells what it does.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LIST = Path(__file__).resolve().parents[1] / "converters" / "readers" / "tensorflow_ops.txt"

_OUT = re.compile(
    r"Dataset|Reader|File|Recv|Send|TPU|Tpu|^Xla|Embedding[A-Z]|DTensor|Summary|Iterator|Queue|Rpc|PyFunc|Session|Save"
    r"|Restore|^Load|Debug|Collective|Nccl|Mkl|BoostedTrees|Stage|Barrier|Cache|Sleep|^Abort$|Remote|^_|Sdca"
    r"|Accumulator|ThreadPool|SparseCore|Dedup|Infeed|Outfeed|Mutex|Snapshot|LMDB|Sql|Stats|Server|Heartbeat|Worker"
    r"|Resource(?:Create|Initialized|Using)Op|StubResource|Mesh|Relayout|Mlir|CustomCall|Batch(?:Function)?$|^Risc|Deadline"
    r"|Minibatch|Distributed|Collate|FileSystem|Import$|Checkpoint|SymbolicGradient|Print|Timestamp|Proto|Prelinearize"
    r"|DumpTensor|RecordInput|GetOptions|ImmutableConst|ParseTensor|InterceptOp|DecodeJSON|Skipgram|NegTrain|AllToAll$"
    r"|CandidateSampler|^(?:Ordered)?Map(?:Clear|IncompleteSize|Peek|Size)|Unstage|^Device|CrossReplica|VariableXla|^NIn"
    r"|^Destroy(?:ResourceOp)|WeakResource|Dummy|CooTensor|ImportEvent|CompressElement|SplitND$|ConcatND$"
    r"|GlobalIterId|UpdateTaskId|SyncDevice|GetElementAtIndex|LoadAndRemap|VocabRemapping|TextFile|Variant(?:To|From)"
)  # fmt: skip
_TESTS = re.compile(
    r"^(?:A|B|Old|None|Simple|Restrict|Unary|Binary|Polymorphic\w*|Attr\w*|Foo\d|TypeList\w*|Two\w+|Ref\w*|N[A-Z]\w*In\w*"
    r"|NInts?\w*|NPolymorphic\w*|In(?:t|Polymorphic)\w*|Int64Output|Float(?:In|Out)\w*|FiveFloat\w*|Out(?:T|Type)\w*|List"
    r"(?:In|Out)put|Copy(?:Op|Host)?|Test\w*|Namespace>\w*|Kernel\w+|Construction\w+|Default\w*|OpWith\w+|Func\w*Attr"
    r"|String(?:ListAttr)|Reserved\w+|Mixed\w+|\w*Struct|GraphDefVersion|RequiresOlder\w+|Resource(?:Creat|Us)\w+)$"
)  # fmt: skip
PLUMBING = frozenset(
    {
        "SaveV2",
        "RestoreV2",
        "MergeV2Checkpoints",
        "ShardedFilename",
        "VarHandleOp",
        "NoOp",
        "Assert",
        "XlaCallModule",
        "ScalarSummary",
        "HistogramSummary",
        "MergeSummary",
    }
)
"""What every SavedModel has, and what Keras on JAX exports (StableHLO). The scan refuses the first three, the saver's,
where a signature reaches them. The summaries, which make text and write nothing, and the optimizers' updates of
variables (ApplyAdam) lie unused in what TensorFlow 1 saved after training."""


def main() -> None:
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    registered = op_def_pb2.OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    names = {op.name for op in registered.op if not _OUT.search(op.name) and not _TESTS.search(op.name)}
    LIST.write_text("".join(f"{name}\n" for name in sorted(names | PLUMBING)))


if __name__ == "__main__":
    main()
