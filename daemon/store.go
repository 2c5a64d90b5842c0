package daemon

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// store keeps the state document in two places. The keeper has it in memory, always
// up to date, for the daemon that comes after a sudden death of this one: that needs
// no disk. On disk it is for the time after the death of both, and for the next boot.
//
// It is written to state.json.next, which no death of gopm can take away any more:
// before a program is started for the first time, and soon after each other change.
// What a power cut could take away is made safe by another goroutine, for a disk takes
// its time: fsynced and renamed to state.json, which is therefore always whole.
type store struct {
	home    api.Home
	build   func(sequence uint64) document
	entrust func(key string, memory *os.File) // gives the keeper the newest; nil: it is to forget
	log     func(format string, args ...any)
	allowed func() error // says whether the home is ours to write to

	mu       sync.Mutex // one document at a time; guards sequence and told
	sequence uint64
	told     map[string]bool // the environments that the keeper has

	wake    chan struct{} // room for one: something has changed
	commits chan commit
	quit    chan struct{}
	ended   chan struct{}
	files   files
	trouble atomic.Pointer[trouble]
	done    done
}

// document is the state as text, and the environments that it names.
type document struct {
	text []byte
	envs map[string][]string
}

type commit struct {
	doc  document
	done chan struct{} // closed when it is in the file, or can't be
}

// done is what metrics say of the writing.
type done struct {
	writes, failures, size atomic.Int64
	revivals               int // of the daemon, kept with the state; set before it is open
}

// trouble is why the state can't be written, and since when.
type trouble struct {
	err   error
	since time.Time
}

const (
	saveAfter = 20 * time.Millisecond // from a change to the file
	saveShare = 10                    // of a processor's time at most one part is spent with writing
	saveAgain = time.Second           // after a failure
	saveWait  = time.Second           // that a command waits for a disk
)

func newStore(home api.Home, log func(string, ...any), build func(uint64) document, entrust func(string, *os.File)) *store {
	return &store{
		home: home, build: build, entrust: entrust, log: log, told: map[string]bool{},
		allowed: func() error { return nil },
		wake:    make(chan struct{}, 1), commits: make(chan commit), quit: make(chan struct{}), ended: make(chan struct{}),
		files: files{unsafe: make(chan struct{}, 1), safe: make(chan struct{}), sync: syncFile},
	}
}

// open starts the writing, which close ends. What was loaded has that sequence number.
func (s *store) open(sequence uint64) {
	s.sequence = sequence
	go s.run()     // ended by close, which waits for it
	go s.runSafe() // the same
}

// close writes what there is, safely, and ends the goroutines.
func (s *store) close() {
	close(s.quit)
	<-s.ended
	close(s.files.unsafe)
	<-s.files.safe
}

// changed has the present state written soon. It costs nothing: it is called on the
// path of a crash.
func (s *store) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// commit returns when the present state survives the death of this daemon and, unless
// the disk doesn't answer or is full, of the keeper too.
func (s *store) commit() {
	c := commit{s.present(), make(chan struct{})}
	late := time.NewTimer(saveWait)
	defer late.Stop()
	select {
	case s.commits <- c:
		select {
		case <-c.done:
		case <-late.C:
		}
	case <-late.C:
	case <-s.ended:
	}
	s.changed()
}

// present builds the document of now and gives it to the keeper.
func (s *store) present() document {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	doc := s.build(s.sequence)
	s.remember(doc)
	return doc
}

// retell gives a new keeper what the old one had.
func (s *store) retell() {
	s.mu.Lock()
	clear(s.told)
	s.mu.Unlock()
	s.present()
}

// remember gives a document to the keeper; an environment only once, and first.
func (s *store) remember(doc document) {
	for name, env := range doc.envs {
		if !s.told[name] {
			s.told[name] = s.tell(keyEnv+name, encodeEnv(env))
		}
	}
	if !s.tell(keyState, doc.text) {
		return
	}
	for name := range s.told {
		if _, is := doc.envs[name]; !is {
			delete(s.told, name)
			s.entrust(keyEnv+name, nil)
		}
	}
}

func (s *store) tell(key string, text []byte) bool {
	f, err := inMemory(key, text)
	if err != nil {
		s.log("cannot keep the state in memory: %v", err)
		return false
	}
	defer f.Close()
	s.entrust(key, f)
	return true
}

// inMemory is a file that no disk has.
func inMemory(name string, text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("gopm "+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// run writes: commits at once, other changes together.
func (s *store) run() {
	defer close(s.ended)
	due := time.NewTimer(0)
	due.Stop()
	waiting, pause := false, saveAfter
	for {
		select {
		case c := <-s.commits:
			s.write(c.doc)
			close(c.done)
		case <-s.wake:
			if !waiting {
				waiting = true
				due.Reset(pause)
			}
		case <-due.C:
			waiting = false
			used, err := processorTime(func() error { return s.write(s.present()) })
			if err != nil {
				due.Reset(saveAgain) // sooner if something changes: the keeper takes it, whatever the disk does
				continue
			}
			pause = max(saveAfter, (saveShare-1)*used)
		case <-s.quit:
			_ = s.write(s.present()) // it has been noted
			return
		}
	}
}

// processorTime is what f takes of it. What f spends waiting, for the disk or for its
// turn on a busy machine, is no reason to do it less often.
func processorTime(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before) // always there
	err := f()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
	return time.Duration(after.Nano() - before.Nano()), err
}

// runSafe makes safe what was written.
func (s *store) runSafe() {
	defer close(s.files.safe)
	for range s.files.unsafe {
		began := time.Now()
		if s.note(s.secure()) {
			s.changed() // to be written and tried again
		}
		select {
		case <-s.quit: // the last time
		case <-time.After(max(saveAfter, (saveShare-1)*time.Since(began))):
		}
	}
}

// note keeps what a write has come to, and says whether it failed.
func (s *store) note(err error) (failed bool) {
	was := s.trouble.Load()
	if err != nil {
		s.done.failures.Add(1)
	}
	switch {
	case err == nil && was != nil:
		s.trouble.Store(nil)
		s.log("the state is written again (it was not since %s)", was.since.Format(time.TimeOnly))
	case err != nil && was == nil:
		s.trouble.Store(&trouble{err, time.Now()})
		s.log("cannot write the state: %v; what changes meanwhile survives this daemon, but not the keeper or a reboot", err)
	}
	return err != nil
}

// ails says what is wrong with the writing, "" while nothing is.
func (s *store) ails() string {
	t := s.trouble.Load()
	if t == nil {
		return ""
	}
	return fmt.Sprintf("the state could not be written since %s: %v; it is tried each second, and until then a reboot, or the death of gopm's keeper, forgets what changes",
		t.since.Format(time.TimeOnly), t.err)
}
