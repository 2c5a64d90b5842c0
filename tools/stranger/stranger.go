// Package stranger lets tests, run by root, act as another user of the machine.
package stranger

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do does something with the rights of another user. They are those of one thread, which
// ends with it.
func Do(uid int, do func() error) error {
	done := make(chan error)
	go func() { // ended by do
		runtime.LockOSThread()
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		var err error
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			err = fmt.Errorf("cannot become uid %d: %v", uid, e)
		} else {
			err = do()
		}
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable), 0, 0, 0) // the change of rights takes that from the whole process
		done <- err
	}()
	return <-done
}
