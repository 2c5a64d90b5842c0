package cluster

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tenant is one process of a slot, with its descendants: all that is under one filter.
type tenant struct {
	slot       *Slot
	inc        uint64
	calls      *notifier
	noNewPrivs bool
	only       map[uint64]int // IPV6_V6ONLY by inode, where sockets can't be had; serve's own

	// Guarded by the host's mutex.
	ready     bool // it has listened
	bound     map[*socket]bool
	recheck   bool           // whether its sockets are all open
	hand      []notification // its calls that are being worked on
	held      []heldCall     // of a spare
	since     uint64         // it has waited, in the order of all; 0: it doesn't
	dismissed bool           // a spare that was told to end
	noted     []byte         // what the keeper has of it
	denied    refusals
	lent      string // why its sockets are ours and not its own; "": they aren't
}

// refusals are the calls of a tenant that were refused.
type refusals struct{ all, told int }

// Enter returns what is to be called on the thread that starts incarnation inc. If its
// calls can't be watched it runs all the same, as in fork mode, and View says why.
func (s *Slot) Enter(inc uint64) func() error {
	return func() error {
		if what := s.h.lacks(); what != "" {
			s.fail("the kernel lacks " + what)
			return nil
		}
		fd, noNewPrivs, err := confine(s.h.poor)
		if err != nil {
			s.fail(refusal(err))
			return nil
		}
		calls, err := newNotifier(fd)
		if err != nil {
			return err
		}
		t := &tenant{slot: s, inc: inc, calls: calls, noNewPrivs: noNewPrivs, bound: map[*socket]bool{}}
		return s.admit(t, fd)
	}
}

// admit waits for the calls of a tenant from now on. What gives the keeper its
// descriptor comes before the program can make a call.
func (s *Slot) admit(t *tenant, fd int) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.closed || s.h.closed {
		t.calls.close()
		return errors.New("gopm is ending")
	}
	s.trouble = ""
	s.tenants[t.inc] = t
	t.note(fd)
	s.h.attend(t)
	return nil
}

// fail notes why a slot is none.
func (s *Slot) fail(why string) {
	s.h.mu.Lock()
	again := s.trouble == why
	s.trouble = why
	spare := ""
	if s.standby {
		spare = "; it is a spare, and can't be held back either: without spares it is not started at all"
	}
	s.h.mu.Unlock()
	if !again {
		s.h.opts.Log("%s: its instances can't share a port (the second one that binds it fails), it runs as in fork mode: %s%s", named(s.app, s.index), why, spare)
	}
}

// mostTold is how many refusals of one process are logged.
const mostTold = 10

// refused notes why the program was refused a port, till it has one.
func (t *tenant) refused(why string) {
	s := t.slot
	s.h.mu.Lock()
	again := s.refusal == why
	t.denied.all++
	if s.refusal = why; !again {
		t.denied.told++
	}
	told := t.denied.told
	s.h.mu.Unlock()
	switch {
	case again || told > mostTold:
		return
	case told == mostTold:
		why += "; more refusals of this process are not logged"
	}
	s.h.opts.Log("%s: %s", named(s.app, s.index), why)
	s.h.opts.Changed(s)
}

// serve answers calls until there can be none any more.
func (t *tenant) serve() {
	t.goOn()
	p := Pace{Burst: t.slot.h.burst}
	for {
		var n notification
		err := t.calls.receive(&n)
		if err == nil {
			took := ProcessorTime(func() {
				t.take(n)
				err = t.answer(&n)
				t.drop(n.id)
			})
			t.slot.h.rest(p.Pay(time.Now(), took))
		}
		if err != nil {
			t.lose(err)
			t.leave()
			return
		}
	}
}

// lose says why its calls can't be watched any more, unless that is its end.
func (t *tenant) lose(err error) {
	if !errors.Is(err, os.ErrClosed) {
		t.slot.h.opts.Log("%s: cannot watch its system calls any more: %v", named(t.slot.app, t.slot.index), err)
	}
}

// leave forgets a tenant whose processes have all ended.
func (t *tenant) leave() {
	s := t.slot
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.h.closed {
		return
	}
	delete(s.h.served, t)
	t.dropHeld()
	t.calls.close()
	if s.tenants[t.inc] == t { // else another daemon had begun to start the incarnation, and this one has
		delete(s.tenants, t.inc)
		s.h.opts.Keep(t.key(), nil)
	}
}

// verdict is what becomes of a call.
type verdict struct {
	proceed bool          // the kernel runs it as it is
	later   bool          // it waits
	errno   syscall.Errno // else it ends with that, or success
	install int           // before: this descriptor of ours goes in the place of theirs; 0: none
	why     string        // what the user is to know of an error
	taken   address       // somebody has it: who, is still to be found out
}

var asItIs = verdict{proceed: true}

func (t *tenant) answer(n *notification) error {
	if n.number == unix.SYS_SETSOCKOPT {
		t.noteOnly(n)
		return t.calls.proceed(n.id)
	}
	return t.settle(n, t.look(n))
}

func (t *tenant) settle(n *notification, c *call) error {
	defer c.close()
	v := t.decide(n, c)
	t.remember()
	if v.later {
		t.slot.h.opts.Changed(t.slot)
		return nil
	}
	if v.taken.port != 0 {
		v.why = taken(v.taken)
	}
	if v.why != "" {
		t.refused(v.why)
	}
	if v.install > 0 {
		err := t.calls.install(n.id, v.install, int(n.args[0]), c.cloexec)
		unix.Close(v.install)
		switch {
		case err == unix.ENOENT || err == unix.EINPROGRESS: // it has died
			return nil
		case err != nil:
			v.errno = asErrno(err)
		}
	}
	if v.proceed {
		return t.calls.proceed(n.id)
	}
	return t.calls.finish(n.id, v.errno)
}
