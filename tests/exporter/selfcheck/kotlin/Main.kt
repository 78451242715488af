// Every check of the bundle whose `selfcheck/` is the first argument, answered by the reference times the second one.
package selfcheck

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.system.exitProcess
import recorded.Recorded

private fun answers(output: Output, read: Read, run: Int, factor: Double): ByteBuffer {
    require(output.dtype == "float32")
    val reference = ByteBuffer.wrap(read(output.file)).order(ByteOrder.LITTLE_ENDIAN).asDoubleBuffer()
    val count = elements(output.shape)
    val buffer = ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder())
    for (k in 0 until count) buffer.putFloat(4 * k, (reference.get(run * count + k) * factor).toFloat())
    return buffer
}

fun main(arguments: Array<String>) {
    val (folder, factor) = arguments
    val read: Read = { name -> listOf("", "../").map { File("$folder/$it$name") }.first { it.isFile }.readBytes() }
    val agree = CHECKS.map { check ->
        val runs = (0 until check.runs).map { run ->
            check.outputs.associate { it.name to answers(it, read, run, factor.toDouble()) }
        }
        Recorded.start(check.inputs.map { it.name }.toSet(), runs)
        if (check.format == "tflite") checkLiteRt(check, read, ::println) else checkOnnxRuntime(check, read, ::println)
    }
    println(if (agree.all { it }) "agree" else "disagree")
    exitProcess(if (agree.all { it }) 0 else 1)
}
