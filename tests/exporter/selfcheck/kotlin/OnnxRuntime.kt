// Declarations of the part of ONNX Runtime's Java API that CheckOnnxRuntime.kt uses, written for the tests: no package
// registry that they use has the real one. What is run gives the answers of Recorded, so that the self-check's own steps
// are run and not the runtime's.
package ai.onnxruntime

import java.nio.ByteBuffer
import java.util.Optional
import recorded.Recorded

enum class OnnxJavaType(val size: Int) { FLOAT(4), DOUBLE(8), INT8(1), UINT8(1), INT16(2), INT32(4), INT64(8), BOOL(1) }

interface OnnxTensorLike : AutoCloseable

interface OnnxValue : AutoCloseable

class OnnxTensor(val byteBuffer: ByteBuffer) : OnnxTensorLike, OnnxValue {
    override fun close() {}

    companion object {
        fun createTensor(environment: OrtEnvironment, data: ByteBuffer, shape: LongArray, type: OnnxJavaType): OnnxTensor {
            require(data.isDirect && data.remaining() == shape.fold(type.size) { size, dimension -> size * dimension.toInt() })
            return OnnxTensor(data)
        }
    }
}

class OrtSession : AutoCloseable {
    class SessionOptions

    class Result(private val answers: Map<String, ByteBuffer>) : AutoCloseable {
        fun get(name: String): Optional<OnnxValue> = Optional.ofNullable(answers[name]?.let { OnnxTensor(it) })

        override fun close() {}
    }

    fun run(inputs: Map<String, OnnxTensorLike>): Result = Result(Recorded.next(inputs.keys))

    override fun close() {}
}

class OrtEnvironment {
    fun createSession(model: ByteArray, options: OrtSession.SessionOptions): OrtSession {
        require(model.isNotEmpty())
        return OrtSession()
    }

    companion object {
        fun getEnvironment() = OrtEnvironment()
    }
}
