package cluster

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ground is what there is to know of the machine; it doesn't change.
type ground struct {
	low    uint16        // the lowest port that everybody may bind
	netns  uint64        // the network that we are in
	poor   bool          // sockets of other processes can't be had
	poorly *sync.Once    // says so
	lacks  func() string // what the kernel can't do
	burst  time.Duration // of a program's calls
	read   func(tid int, address uint64, length int) ([]byte, error)
}

func newGround() ground {
	return ground{
		low: firstFreePort(), netns: ownNetwork(), poor: !canTake(), poorly: &sync.Once{},
		lacks: sync.OnceValue(lacking), burst: paceBurst, read: readMemory,
	}
}

// lacking is what the kernel can't do of what clusters need, and since when others
// can; "": nothing. It is asked once, on a thread that then ends, for the filter that it
// takes stays with the thread.
func lacking() (what string) {
	aside(func() {
		fd, _, err := confine(false)
		if err != nil {
			return // what is wrong is going to be told by the app's own try
		}
		what = lackingOf(uintptr(fd))
		unix.Close(fd)
	})
	return what
}

// lackingOf asks with the number of a call that there isn't: a kernel that knows what
// is asked for says that it doesn't find it.
func lackingOf(fd uintptr) string {
	proceed := response{flags: 1}
	if ioctl(fd, ioctlSend, unsafe.Pointer(&proceed)) == unix.EINVAL {
		return "calls that go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE), since Linux 5.5"
	}
	install := addFD{flags: addSet}
	if err := ioctl(fd, ioctlAddFD, unsafe.Pointer(&install)); err == unix.EINVAL || err == unix.ENOTTY {
		return "descriptors that are handed over (SECCOMP_IOCTL_NOTIF_ADDFD), since Linux 5.9"
	}
	return ""
}

// aside runs a function on a thread that ends with it: what it changes of the thread
// stays with nobody.
func aside(f func()) {
	done := make(chan struct{})
	go onThread(f, done) // ends with f
	<-done
}

// onThread never gives its thread back, but a main thread would not end: then it goes
// to another.
func onThread(f func(), done chan<- struct{}) {
	defer close(done)
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		aside(f) // it gets another thread, this one being taken
		runtime.UnlockOSThread()
		return
	}
	f()
}
