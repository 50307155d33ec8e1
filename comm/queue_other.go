//go:build !linux

package comm

import "syscall"

// keepQueueShort is a net.Dialer's Control; see queue_linux.go.
func keepQueueShort(_, _ string, _ syscall.RawConn) error { return nil }
