package keeper

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes the keeper at a time of CLOCK_BOOTTIME, at once after a sleep of the machine
// over that time: no timer of the runtime does. A nil alarm never rings.
type alarm struct {
	fd    int
	file  *os.File
	rings chan struct{}
	ended sync.WaitGroup
}

func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil
	}
	a := &alarm{fd: fd, file: os.NewFile(uintptr(fd), "alarm"), rings: make(chan struct{}, 1)}
	a.ended.Go(a.watch) // ended by close, which waits for it
	return a
}

func (a *alarm) watch() {
	var count [8]byte
	for {
		if _, err := a.file.Read(count[:]); err != nil {
			return
		}
		select {
		case a.rings <- struct{}{}:
		default: // it has rung already
		}
	}
}

// ring is told when the time has come.
func (a *alarm) ring() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.rings
}

func (a *alarm) set(at time.Duration) {
	if a == nil {
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	_ = unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil) // can't fail with such a time
}

// close returns when nothing is left of it.
func (a *alarm) close() {
	if a == nil {
		return
	}
	_ = a.file.Close()
	a.ended.Wait()
}
