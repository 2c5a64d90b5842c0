package keeper

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutMask does something with a thread that holds no signals back. A keeper in the
// foreground is executed with those held back that it is to pass on, so that none is lost
// before it catches them; what it starts must not inherit that.
func withoutMask(do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, before uint64
	setMask(&none, &before)
	defer setMask(&before, nil)
	do()
}

func setMask(to, before *uint64) {
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(before)), 8, 0, 0)
}
