package comm

import "syscall"

// unsentLowat is how much the kernel holds of what it cannot send yet, in bytes.
// What is behind that waits in gRPC, which lets the streams of a connection take
// turns: an operation gets past the pieces of a large content there.
const unsentLowat = 64 << 10

// tcpNotsentLowat is TCP_NOTSENT_LOWAT, which package syscall does not have.
const tcpNotsentLowat = 25

// keepQueueShort is a net.Dialer's Control.
func keepQueueShort(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Where it cannot be set the queue is longer, and nothing else is wrong.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, unsentLowat)
	})
}
