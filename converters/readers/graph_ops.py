"""The TensorFlow operations that make up models. What is not here does not pass the scan.

An allowlist, for TensorFlow's own security policy says that a graph is a program: of its 1900 operations some read,
write or list files, open connections or call Python, and new ones come with every release. The lists hold what
tf2onnx 1.17 and the TFLite converter of TensorFlow 2.21 translate, what training leaves behind (gradients, optimizer
updates), and the plumbing of variables, control flow and function calls.
"""

from __future__ import annotations

import re

_MATH = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproxTopK ApproximateEqual ArgMax ArgMin Asin Asinh Atan
Atan2 Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0e BesselI1e Betainc Bincount Bitcast BitwiseAnd
BitwiseOr BitwiseXor BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize Cast Ceil Cholesky ClipByValue
Complex ComplexAbs ConjugateTranspose Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp DenseBincount Diag
DiagPart Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 FFT FFT2D Floor FloorDiv FloorMod
Greater GreaterEqual HistogramFixedWidth IFFT IFFT2D IRFFT IRFFT2D Igamma Igammac Imag InTopK InTopKV2 Inv Invert
InvertPermutation IsFinite IsInf IsNan L2Loss LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd
LogicalNot LogicalOr LowerBound MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2
MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
MatrixTriangularSolve Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual NthElement
Polygamma PopulationCount Pow Prod Qr RFFT RFFT2D Real RealDiv Reciprocal RightShift Rint Round Rsqrt SegmentMax
SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 SelfAdjointEigV2 Sign Sin Sinh SparseMatMul
SparseTensorDenseMatMul Sqrt Square SquaredDifference Sub Sum Svd Tan TopK TopKV2 TruncateDiv TruncateMod
UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound Xdivy Xlog1py Xlogy Zeta
"""

_LAYERS = """
AdjustContrastv2 AdjustHue AdjustSaturation AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1
BlockLSTM BlockLSTMV2 CTCGreedyDecoder CTCLoss CombinedNonMaxSuppression Conv Conv2D Conv2DBackpropFilter
Conv2DBackpropInput Conv3D Conv3DBackpropFilterV2 Conv3DBackpropInput Conv3DBackpropInputV2 CropAndResize
DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize Dilation2D
Elu ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D
FusedResizeAndPadConv2D GRUBlockCell HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 LRN
LSTMBlockCell LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax MirrorPad NonMaxSuppression
NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 Pad PadV2 QuantizeAndDequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 RGBToHSV Relu Relu6 ResizeArea
ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate Selu Sigmoid Softmax
SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits Tanh CudnnRNN CudnnRNNV2
CudnnRNNV3
"""

_SHAPES = """
BatchToSpace BatchToSpaceND CheckNumerics CheckNumericsV2 Concat ConcatOffset ConcatV2 Const DataFormatDimMap
DataFormatVecPermute DepthToSpace DynamicPartition DynamicStitch EnsureShape ExpandDims Fill Gather GatherNd
GatherV2 GuaranteeConst Identity IdentityN ListDiff MakeUnique NoOp OneHot OnesLike Pack ParallelConcat
ParallelDynamicStitch Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient RaggedRange
RaggedTensorToTensor Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice
Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth SparseFillEmptyRows SparseReorder SparseReshape SparseSegmentMean
SparseSegmentSqrtN SparseSegmentSum SparseSlice SparseToDense Split SplitV Squeeze StopGradient StridedSlice
TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate
Tile Transpose Unique UniqueV2 UniqueWithCounts Unpack UnravelIndex Where ZerosLike AsString StringFormat StringJoin
StaticRegexFullMatch Assert
"""

_RANDOM = """
Multinomial ParameterizedTruncatedNormal RandomGamma RandomShuffle RandomStandardNormal RandomUniform
RandomUniformInt RngReadAndSkip RngSkip StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
StatefulUniformFullInt StatefulUniformInt StatelessMultinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""

_CONTROL = """
Case ControlTrigger EmptyTensorList Enter Exit If LoopCond Merge NextIteration OptionalFromValue OptionalGetValue
OptionalHasValue OptionalNone PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile
Switch SymbolicGradient TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayGradV3
TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
TensorListConcat TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack While
StackPushV2 StackPopV2 StackV2 StackCloseV2
"""

_VARIABLES = """
Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp DestroyResourceOp
IsVariableInitialized ReadVariableOp ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterNdUpdate
ResourceScatterSub ResourceScatterUpdate ScatterAdd ScatterSub ScatterUpdate VarHandleOp VarIsInitializedOp Variable
VariableShape VariableV2 HashTableV2 MutableHashTableV2 LookupTableFindV2 LookupTableSizeV2 LookupTableImportV2
LookupTableExportV2 LookupTableInsertV2 DisableCopyOnRead InitializeTableV2 AnonymousHashTable
AnonymousMutableHashTable
"""

OPERATIONS = frozenset(f"{_MATH} {_LAYERS} {_SHAPES} {_RANDOM} {_CONTROL} {_VARIABLES}".split())
"""Operations that compute, keep or move tensors and nothing else."""

CHECKPOINT_OPS = frozenset({
    "SaveV2", "RestoreV2", "ShardedFilename", "MergeV2Checkpoints", "Save", "SaveSlices", "Restore", "RestoreSlice",
})  # fmt: skip
"""How a SavedModel saves and restores its own variables. They touch files, so nothing that runs may reach them."""

_TRAINING = re.compile(r"(Resource|ResourceSparse|Sparse)?Apply[A-Z]\w*|CudnnRNNBackpropV?\d?")
_GRADIENT = re.compile(r"(\w+?)Grad(V\d|Boxes|Image|A|WithArgmax|Grad(V\d|WithArgmax)?)?(V\d)?")
_GRADIENTS_OF = OPERATIONS | {"Relu6", "StridedSlice", "Tile", "Inv"}


def is_known(op: str) -> bool:
    """Whether an operation may stand in a model: computing, its gradient, or an optimizer's update."""
    if op in OPERATIONS or op in CHECKPOINT_OPS or _TRAINING.fullmatch(op):
        return True
    found = _GRADIENT.fullmatch(op)
    return bool(found) and (found[1] in _GRADIENTS_OF or f"{found[1]}V2" in OPERATIONS)
