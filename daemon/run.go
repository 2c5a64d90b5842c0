package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
	"gopm/logs"
)

// gopm run has an app that doesn't run always run now: a job, or one that is not started
// again when it has ended. Who has asked for it is shown what it writes, as the log files
// have it, and how it ended.

// runNow begins a run. If one goes on it depends on overlap whether that is an error, is
// waited for, or is ended.
func (d *Daemon) runNow(ctx context.Context, req api.Run) (api.Running, error) {
	for {
		in, before, err := d.beginRun(ctx, req)
		if err != nil || before == nil {
			return api.Running{}, err
		}
		if isDown(*before) {
			inc := before.Incarnation + 1
			_, err := in.proc.Await(ctx, func(s supervise.Snapshot) bool { return s.Incarnation >= inc })
			if err != nil {
				in.proc.End(inc) // nobody is going to follow it
				return api.Running{}, err
			}
			d.store.commit()
			return api.Running{ID: in.id, Name: in.name, Inc: inc}, nil
		}
		if _, err := in.proc.Await(ctx, isDown); errors.Is(err, supervise.ErrClosed) {
			return api.Running{}, api.Errorf(api.KindNotFound, "%s was deleted meanwhile", in.name)
		} else if err != nil {
			return api.Running{}, err
		}
	}
}

// beginRun does what can be done at once. before is how it was; nil: nothing is to be
// followed.
func (d *Daemon) beginRun(ctx context.Context, req api.Run) (in *instance, before *supervise.Snapshot, err error) {
	end, err := d.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	if in, err = d.runnable(req.Target); err != nil {
		return nil, nil, err
	}
	if req.End != 0 {
		in.proc.End(req.End)
		return in, nil, nil
	}
	s := in.proc.Snapshot()
	spec := in.app.Load().spec // of the table as it is in our turn
	times, lacks := spec.Times, d.lacksOf(in)
	switch {
	case len(lacks) > 0:
		return nil, nil, api.Errorf(api.KindBusy, "%s needs %s: gopm start %s first", in.name, lackText(lacks), strings.Join(lackNames(lacks), " "))
	case isDown(s):
		d.tell(in.event(api.EventJob, "is run by command"))
		in.proc.Start()
	case !times.IsJob() || times.Overlap != ecosystem.OverlapQueue && times.Overlap != ecosystem.OverlapKill:
		return nil, nil, api.Errorf(api.KindBusy, "%s is running (%s); gopm logs %s follows that run, gopm stop %s ends it", in.name, runText(s), in.name, in.name)
	case times.Overlap == ecosystem.OverlapKill:
		d.tell(in.event(api.EventJob, "is run by command: the run before (%s) is ended", runText(s)))
		in.proc.End(s.Incarnation)
	}
	return in, &s, nil
}

func runText(s supervise.Snapshot) string {
	if s.Pid == 0 {
		return string(s.Status)
	}
	return fmt.Sprintf("pid %d, since %v", s.Pid, time.Since(s.Started).Round(time.Second))
}

// runnable is the one instance that a target means, if it can be run.
func (d *Daemon) runnable(target string) (*instance, error) {
	picked, err := d.table.Load().selection([]string{target})
	var known *api.Error
	if errors.As(err, &known) && known.Kind == api.KindNotFound {
		return nil, api.Errorf(api.KindNotFound, "%s; gopm run is for apps that gopm knows: gopm start their file first", known.Message)
	}
	if err != nil {
		return nil, err
	}
	if len(picked) != 1 {
		return nil, api.Errorf(api.KindInvalid, "%s means %d instances, and gopm run is for one: name its id", target, len(picked))
	}
	in := picked[0]
	spec := in.app.Load().spec // of the table as it is in our turn
	if !spec.Times.IsJob() && spec.Restart.Auto {
		return nil, api.Errorf(api.KindInvalid, "%s is an app that always runs: gopm start %s; gopm run is for jobs (schedule), and for apps with autorestart: false", in.name, in.name)
	}
	return in, nil
}

// runFollower reads what one run of an instance writes.
type runFollower struct {
	in   *instance
	inc  uint64
	mine *marks       // where its output begins; nil: not known
	at   [2]logs.Mark // where it was read to
	deaf [2]bool      // that can't be read
	buf  []byte
}

// followRun streams what a run writes until it has ended.
func (d *Daemon) followRun(r *http.Request, send func(any) error) error {
	picked, err := d.targeted(r)
	inc, bad := strconv.ParseUint(r.URL.Query().Get("inc"), 10, 64)
	switch {
	case err != nil:
		return err
	case len(picked) != 1 || bad != nil:
		return api.Errorf(api.KindInvalid, "want one target and the number of a run")
	}
	seq, err := d.feed.join()
	if err != nil {
		return err
	}
	defer d.feed.leave()
	f := newRunFollower(picked[0], inc, r)
	return d.follow(r.Context(), f, seq, send)
}

// follow sends what is written from now on, too.
func (d *Daemon) follow(ctx context.Context, f *runFollower, seq uint64, send func(any) error) error {
	ended := make(chan supervise.Snapshot, 1)
	go func() { // ends with the run, or with the request
		s, _ := f.in.proc.Await(ctx, f.isOver) // an error: it is not going to be known
		ended <- s
	}()
	if err := f.tell(send); err != nil {
		return err
	}
	closing := d.ending.closing
	for {
		grown, now, more := d.feed.since(seq)
		seq = now
		if slices.Contains(grown, f.in.out) || slices.Contains(grown, f.in.err) {
			if err := f.tell(send); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		case <-closing:
			if d.ending.reason() == handedOver {
				return d.ending.refusal()
			}
			closing = nil // its last words are shown, too
		case s := <-ended:
			if d.ending.reason() == handedOver {
				return d.ending.refusal() // the next daemon knows
			}
			if err := f.tell(send); err != nil {
				return err
			}
			return send(api.RunPart{End: f.end(s)})
		}
	}
}

func newRunFollower(in *instance, inc uint64, r *http.Request) *runFollower {
	f := &runFollower{in: in, inc: inc, buf: make([]byte, 32<<10)}
	switch s := in.proc.Snapshot(); inc {
	case s.Incarnation:
		f.mine = in.marks.Load()
	case s.Incarnation - 1:
		f.mine = in.before.Load()
	}
	if f.mine != nil {
		f.at = [2]logs.Mark{f.mine.out, f.mine.err}
	}
	for i, name := range []string{"out", "err"} { // of who has read a part before
		if m, err := logs.MarkOf(r.URL.Query().Get(name)); err == nil {
			f.at[i] = m
		}
	}
	out, err := in.out.Stats().Path, in.err.Stats().Path
	f.deaf[1] = out == err && out != "" // one file for both
	return f
}

// isOver says that the run has ended, with all that it has left.
func (f *runFollower) isOver(s supervise.Snapshot) bool {
	return s.LastExit != nil && s.LastExit.Incarnation >= f.inc && (s.Incarnation > f.inc || isDown(s)) || s.Incarnation > f.inc
}

// tell sends what was written.
func (f *runFollower) tell(send func(any) error) error {
	for i, s := range []*logs.Stream{f.in.out, f.in.err} {
		for !f.deaf[i] {
			n, next, lost, err := s.Raw(f.at[i], f.until(i), f.buf)
			name := [2]string{"stdout", "stderr"}[i]
			var part api.RunPart
			switch {
			case s.Stats().Path == "":
				f.deaf[i] = true
				part.Note = fmt.Sprintf("what it writes to %s can't be shown: no file keeps it", name)
			case err != nil:
				f.deaf[i] = true
				part.Note = fmt.Sprintf("what it writes to %s can't be shown: %v", name, err)
			case lost:
				part.Note = fmt.Sprintf("a part of what it wrote to %s was rotated away before it could be shown", name)
			}
			if f.at[i] = next; i == 0 {
				part.Out, part.OutAt = f.buf[:n], next.Text()
			} else {
				part.Err, part.ErrAt = f.buf[:n], next.Text()
			}
			if n == 0 && part.Note == "" {
				break
			}
			if err := send(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// until is where the output of the run ends: where that of the next one begins.
func (f *runFollower) until(i int) logs.Mark {
	now := f.in.marks.Load()
	if f.mine == nil || now == nil || now == f.mine {
		return logs.Mark{}
	}
	return [2]logs.Mark{now.out, now.err}[i]
}

// end is how the run has ended.
func (f *runFollower) end(s supervise.Snapshot) *api.RunEnd {
	e := &api.RunEnd{At: time.Now()}
	if s.LastExit != nil && s.LastExit.Incarnation == f.inc {
		e.Exit = exitOf(s.LastExit)
		e.At = s.LastExit.At
	}
	return e
}
