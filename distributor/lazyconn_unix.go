//go:build unix

package distributor

import "syscall"

const canFill = true

// tryFill reads what has come; false: nothing has.
func (l *lazyConn) tryFill(fd uintptr) bool {
	buf := reads.Get().(*[readSize]byte)
	for {
		n, err := syscall.Read(int(fd), buf[:])
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			reads.Put(buf)
			return false
		}
		l.filled(buf, n, err)
		return true
	}
}
