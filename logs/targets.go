package logs

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	retryAfter  = time.Second // after a rotation or reopening that failed
	repeatAfter = time.Minute // before the daemon's log is told again
	seekStep    = time.Second // between two looks whether a file is where it was
)

// errRemoved: a log file was deleted, and can't be created again.
var errRemoved = errors.New("the file was removed and cannot be created again")

// openTargets opens the file of a target, and the others if it has some.
func openTargets(t Target) ([]opened, error) {
	var all []opened
	for i := range len(Stream{}.outs) {
		o, err := opened{fd: -1, kind: kindNone}, error(nil)
		if part := t.part(i); part.Path != "" {
			o, err = openTarget(part)
		}
		if err != nil {
			closeTargets(all)
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func closeTargets(all []opened) {
	for _, o := range all {
		o.close()
	}
}

func (o opened) close() {
	if o.fd >= 0 {
		unix.Close(o.fd)
	}
}

// opener opens the files of a target.
type opener func(Target) ([]opened, error)

// openLeniently never fails: a file that can't be opened now is absent.
func openLeniently(t Target) ([]opened, error) {
	var all []opened
	for i := range len(Stream{}.outs) {
		o, err := opened{fd: -1, kind: kindNone}, error(nil)
		part := t.part(i)
		if part.Path != "" {
			o, err = openTarget(part)
		}
		if err != nil {
			o = absent(part.Path, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// absent stands for a file that can't be opened now: it refuses everything, and
// reopen tries again. Its number is made from its path, so that the streams of one
// file share it and have one writer from the beginning.
func absent(path string, why error) opened {
	h := fnv.New64a()
	h.Write([]byte(path))
	return opened{fd: -1, kind: kindAbsent, id: fileID{^uint64(0), h.Sum64()}, why: why}
}

// aim gives a stream the files of t, opened by openTargets. It closes those that
// it doesn't use.
func (p *Pump) aim(s *Stream, t Target, all []opened) error {
	before := s.target
	s.target = t
	for i := range s.outs {
		o := &s.outs[i]
		switch {
		case i < len(all) && all[i].kind != kindNone && !slices.ContainsFunc(s.outs[:i], func(o outlet) bool { // a file gets each line once
			return o.sink != nil && o.sink.id == all[i].id
		}):
			if err := p.attach(s, i, all[i]); err != nil {
				closeTargets(all[i+1:])
				s.target = before
				return err
			}
			continue
		case i < len(all):
			all[i].close()
		}
		p.release(s, o)
		o.sink = nil
	}
	s.frame.format, s.frame.console = newFormatter(t.Format), newFormatter(t.Console.Format)
	s.frame.twice = s.outs[2].sink != nil
	for i := range s.outs {
		k := s.outs[i].sink
		if k == nil || !s.framed() {
			continue
		}
		k.endLine() // else our line would be glued to that one
	}
	s.publish()
	return nil
}

// attach gives a stream one of its files and lets go of the one it had. o was
// opened elsewhere, because creating a file takes long when many do; if its name
// belongs to another file by now (it was rotated), it is opened again.
func (p *Pump) attach(s *Stream, i int, o opened) error {
	t := s.part(i)
	var st unix.Stat_t
	if o.path != "" && (unix.Lstat(o.path, &st) != nil || idOf(&st) != o.id) {
		unix.Close(o.fd)
		var err error
		if o, err = openTarget(t); err != nil {
			return err
		}
	}
	k := p.sinks[o.id]
	if k != nil { // that very file is open already, under whatever name
		o.close()
		k.target = t
	} else {
		k = newSink(o, t)
		if k.owned() && !p.fam.claim(o.id, p) {
			o.close()
			return fmt.Errorf("cannot open log %s: %w", t.Path, errOwned)
		}
		p.sinks[o.id] = k
	}
	k.looked = p.now()
	if out := &s.outs[i]; k != out.sink {
		p.release(s, out)
		k.streams++
		out.sink, out.skip = k, false
	}
	if k.streams > 1 && k.kind != kindNull {
		k.share()
		k.endLine() // else the next writer's line would be glued to this one
		p.publishAll(k)
	}
	return nil
}

// release lets go of a stream's sink, which is closed when it was the last stream's.
func (p *Pump) release(s *Stream, o *outlet) {
	k := o.sink
	if k == nil {
		return
	}
	if k.streams--; k.streams > 0 {
		return
	}
	if k.putRest() != nil || len(k.rest) > 0 {
		s.lose(o, len(k.rest), p.now())
	}
	k.close()
	if p.sinks[k.id] == k {
		p.forget(k)
	}
}

// forget takes a sink from the table of open files.
func (p *Pump) forget(k *sink) {
	delete(p.sinks, k.id)
	if k.owned() {
		p.fam.disown(k.id, p)
	}
}

// seek looks once a second whether a stream's files are still where they were. One
// that somebody has moved away gets a successor, as from `logrotate`.
func (p *Pump) seek(s *Stream, now time.Time) {
	for i := range s.outs {
		k := s.outs[i].sink
		if k == nil || k.kind != kindFile || k.path == "" || now.Sub(k.looked) < seekStep {
			continue
		}
		k.looked = now
		var st unix.Stat_t
		if err := unix.Lstat(k.path, &st); err == nil && idOf(&st) == k.id {
			continue
		}
		err := p.reopen(k)
		if err == nil || k.look() != nil { // a file that is gone is refused for that
			continue
		}
		if t := &k.trouble; t.unrotated.IsZero() || now.Sub(t.unrotated) >= repeatAfter {
			t.unrotated = now
			p.log("log %s was moved away: %v; what the app writes goes where it was moved to", k.target.Path, err)
		}
	}
}

// reopen is for a file that was deleted or is no longer where it was: its streams
// open what their path means now. On failure they keep what they have.
func (p *Pump) reopen(k *sink) error {
	now := p.now()
	if now.Before(k.retry) {
		return cmp.Or(k.why, errRemoved)
	}
	delete(p.sinks, k.id) // it stays ours until there is another, else a stream of the same file would get another writer
	for _, s := range p.streams {
		for i := range s.outs {
			if s.outs[i].sink != k {
				continue
			}
			o, err := openTarget(s.part(i))
			if err == nil {
				err = p.attach(s, i, o)
			}
			if err != nil {
				k.retry = now.Add(retryAfter)
				if k.kind == kindAbsent {
					k.why = err
				}
				if p.sinks[k.id] == nil {
					p.sinks[k.id] = k
				}
				return err
			}
			n := s.outs[i].sink
			n.unlimited = now.Add(retryAfter) // should its name never lead to it, it isn't tried for ever
			if !k.trouble.said.IsZero() {     // the end of the last line may have been dropped
				n.endLine()
			}
		}
	}
	if p.sinks[k.id] == nil && k.owned() {
		p.fam.disown(k.id, p)
	}
	if k.trouble.owing {
		p.log("log %s takes output again", k.target.Path)
	}
	return nil
}

// rotate renames a sink's file aside and goes on with a new one.
func (p *Pump) rotate(k *sink) error {
	var st unix.Stat_t
	if err := unix.Lstat(k.path, &st); err != nil || idOf(&st) != k.id {
		k.unlimited = p.now().Add(retryAfter)
		return p.reopen(k) // somebody moved it away: what is there now isn't ours to rename
	}
	h := p.fam.history(k.path)
	fd, err := h.rotate(k.fd, p.now())
	if err != nil {
		k.unlimited = p.now().Add(retryAfter)
		if now := p.now(); k.trouble.unrotated.IsZero() || now.Sub(k.trouble.unrotated) >= repeatAfter {
			k.trouble.unrotated = now
			p.log("cannot rotate log %s: %v; it grows beyond max_size until that works", k.path, err)
		}
		return err
	}
	k.close()
	p.forget(k)
	k.fd, k.off, k.readable = fd, 0, true
	unix.Fstat(fd, &st)
	k.id = idOf(&st)
	p.sinks[k.id] = k
	p.fam.claim(k.id, p) // it is new
	if k.append {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND)
	}
	k.index.renewed(k.id.ino)
	k.index.grown(k.id.ino, 0, p.now())
	k.rotations++
	k.rotated, k.due = p.now(), 0
	p.tellRotated(k)
	p.fam.packer.add(h, k.target.Rotation)
	return nil
}

// refuses notes that a sink takes nothing, and says so once; when it comes and
// goes, at most once a minute.
func (p *Pump) refuses(k *sink, err error) {
	t := &k.trouble
	if t.err == nil || t.err.Error() != err.Error() {
		t.err = err
		p.publishAll(k)
	}
	now := p.now()
	if t.owing || !t.said.IsZero() && now.Sub(t.said) < repeatAfter {
		return
	}
	t.said, t.owing = now, true
	p.log("log %s takes nothing: %v; what the app writes is dropped and counted until %s", k.target.Path, err, remedy(err))
}

// heals notes that it does again.
func (p *Pump) heals(k *sink) {
	k.trouble.full = time.Time{}
	if k.trouble.err == nil {
		return
	}
	k.trouble.err = nil
	if k.trouble.owing {
		k.trouble.owing = false
		p.log("log %s takes output again", k.target.Path)
	}
	p.publishAll(k)
}

// writes says that a file is one of the stream's.
func (s *Stream) writes(k *sink) bool {
	return slices.ContainsFunc(s.outs[:], func(o outlet) bool { return o.sink == k })
}

func (p *Pump) publishAll(k *sink) {
	for _, s := range p.streams {
		if s.writes(k) {
			s.publish()
		}
	}
}

// remedy is what the user can do about it.
func remedy(err error) string {
	var e unix.Errno
	errors.As(err, &e)
	switch e {
	case unix.ENOSPC:
		return "space is freed on that disk"
	case unix.EDQUOT:
		return "space is freed within the disk quota"
	case unix.EFBIG:
		return "the file is made smaller, or the daemon's file size limit (ulimit -f) larger"
	case unix.EIO:
		return "the disk works again (see dmesg)"
	case unix.EROFS:
		return "the file system is writable again"
	case unix.EPIPE:
		return "gopm is started with somebody who reads it"
	case unix.EMFILE, unix.ENFILE:
		return "there are descriptors again"
	}
	switch err {
	case errFull:
		return "somebody reads it"
	case errBehind:
		return "it does"
	}
	return "that is repaired"
}

// lose counts bytes that nobody will see.
func (s *Stream) lose(o *outlet, n int, now time.Time) {
	o.count.bytes += int64(n)
	if n > 0 && (o.count.since == "" || o.sink.trouble.err == nil) {
		o.count.since = now.Format(time.RFC3339)
	}
}
