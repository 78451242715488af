// The answers that the declared runtimes give, one run after the other.
package recorded

import java.nio.ByteBuffer

object Recorded {
    private var names: Set<String> = emptySet()
    private var waiting: Iterator<Map<String, ByteBuffer>> = emptyList<Map<String, ByteBuffer>>().iterator()

    fun start(inputs: Set<String>, answers: List<Map<String, ByteBuffer>>) {
        names = inputs
        waiting = answers.iterator()
    }

    fun next(given: Set<String>): Map<String, ByteBuffer> {
        require(given == names)
        return waiting.next()
    }
}
