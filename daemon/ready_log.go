package daemon

import (
	"context"
	"fmt"
	"regexp"

	"gopm/daemon/supervise"
	"gopm/ecosystem"
	"gopm/logs"
)

// An instance may be ready when a line of its output says so. Its streams are listened to
// from the moment before its process is started until then; at all other times its output
// never comes into the memory of gopm.

// hearing is who listens to the streams of an instance.
type hearing [2]*logs.Ear

// listen has a run's output listened to, if its app asks for that.
func (in *instance) listen(inc uint64) error {
	in.unlisten()
	a := in.version.Load()
	if a == nil || a.spec.Ready.By != ecosystem.ReadyLog {
		return nil
	}
	words, err := regexp.Compile(a.spec.Ready.Log)
	if err != nil {
		return fmt.Errorf("ready: %v", err)
	}
	hear := func(line []byte) bool {
		is := words.Match(line)
		if is {
			in.proc.Ready(inc)
		}
		return is
	}
	in.hearing.Store(&hearing{in.out.Listen(hear), in.err.Listen(hear)})
	return nil
}

// listenAfter has a run listened to after what is done before it: what a hook writes makes
// nobody ready.
func (in *instance) listenAfter(before func(context.Context) error, inc uint64) func(context.Context) error {
	if a := in.version.Load(); a == nil || a.spec.Ready.By != ecosystem.ReadyLog {
		return before
	}
	return func(ctx context.Context) error {
		if before != nil {
			if err := before(ctx); err != nil {
				return err
			}
		}
		return in.listen(inc)
	}
}

// unlisten ends that.
func (in *instance) unlisten() {
	if h := in.hearing.Swap(nil); h != nil {
		h[0].Close()
		h[1].Close()
	}
}

// heardEnough ends the listening when a run is ready, or over.
func (in *instance) heardEnough(s supervise.Snapshot) {
	if awaits := s.Pid != 0 && s.Ready == supervise.Awaited || s.Pid == 0 && s.Status == supervise.StatusLaunching; !awaits {
		in.unlisten()
	}
}

// listenAgain goes on after the death of another daemon: with what comes, and with what is
// in the files. Where several instances write into one file it isn't known whose the lines
// are.
func (in *instance) listenAgain() {
	s, a := in.proc.Snapshot(), in.version.Load()
	if s.Pid == 0 || s.Ready != supervise.Awaited || a == nil || a.spec.Ready.By != ecosystem.ReadyLog || in.listen(s.Incarnation) != nil {
		return
	}
	words, err := regexp.Compile(a.spec.Ready.Log)
	from := in.marks.Load()
	if err != nil || from == nil || a.spec.Logs.Merge && a.spec.Scale.Total() > 1 {
		return
	}
	for stream, mark := range map[*logs.Stream]logs.Mark{in.out: from.out, in.err: from.err} {
		if found, _ := stream.Find(mark, words.Match); found { // an error: what comes is heard all the same
			in.proc.Ready(s.Incarnation)
		}
	}
}
