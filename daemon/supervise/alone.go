package supervise

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// alone starts a program from a thread that does nothing else and then ends: whatever
// was changed of the thread ends with it, and goes on in the program.
func (s *spawner) alone(c Command, l Launch) (int, error) {
	done := make(chan started, 1)
	go s.forkAndEnd(c, l, done) // ends with its answer
	r := <-done
	runtime.KeepAlive(l)
	return r.pid, r.err
}

// forkAndEnd never gives its thread back, so that the thread ends with the goroutine.
// A main thread would not end: then it goes to another.
func (s *spawner) forkAndEnd(c Command, l Launch, done chan<- started) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		elsewhere := make(chan started, 1)
		go s.forkAndEnd(c, l, elsewhere) // it gets another thread, this one being taken
		done <- <-elsewhere
		runtime.UnlockOSThread()
		return
	}
	if l.Thread != nil {
		if err := l.Thread(); err != nil {
			done <- started{err: err}
			return
		}
	}
	own := unix.Unshare(unix.CLONE_FS) == nil
	if c.Umask != nil && own {
		unix.Umask(*c.Umask)
	}
	setSignalMask(0)
	pid, err := fork(c, c.argv(own), s.descriptors(l))
	done <- started{pid, err}
}
