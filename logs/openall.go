package logs

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// opening is a stream on its way to the pump's goroutine.
type opening struct {
	stream *Stream
	target Target
	files  []opened
	queued bool // it goes by way of a queue, see buffered.go
	open   opener
	count  Stats // of earlier daemons
	killed bool  // the last of them was
	err    error
}

// OpenAll makes a stream for each target, or none: then it returns which of them
// could not be had. Files are opened by as many goroutines as there are
// processors, and the pump's goroutine is asked only once.
func (p *Pump) OpenAll(targets []Target) (streams []*Stream, bad int, err error) {
	all := make([]opening, len(targets))
	inParallel(len(all), func(i int) error {
		all[i] = p.create(targets[i])
		return all[i].err
	})
	return p.openPrepared(all)
}

// inParallel does something n times; each of its goroutines stops at an error.
func inParallel(n int, do func(i int) error) {
	const enough = 16 // for a goroutine to be worth it
	workers := max(1, min(runtime.GOMAXPROCS(0), n/enough))
	var wg sync.WaitGroup
	for w := range workers {
		from, to := w*n/workers, (w+1)*n/workers
		wg.Go(func() { // ends with its part; waited for below
			for i := from; i < to; i++ {
				if do(i) != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// openPrepared has the pump take the streams, all or none.
func (p *Pump) openPrepared(all []opening) (streams []*Stream, bad int, err error) {
	bad, err = firstError(all)
	if err == nil {
		if e := p.do(context.Background(), func() { bad, err = p.adoptAll(all) }); e != nil {
			bad, err = 0, e
		}
	}
	if err == nil {
		bad, err = p.openAllQueued(all)
	}
	if err != nil {
		for _, o := range all {
			o.discard()
		}
		return nil, bad, err
	}
	p.startAll(all)
	for _, o := range all {
		streams = append(streams, o.stream)
	}
	return streams, 0, nil
}

func firstError(all []opening) (int, error) {
	for i, o := range all {
		if o.err != nil {
			return i, o.err
		}
	}
	return 0, nil
}

// create makes a stream with a new pipe.
func (p *Pump) create(t Target) opening {
	fd, err := newPipe(t.UID, t.GID)
	if err != nil {
		return opening{err: err}
	}
	o := p.prepare(t, fd, openTargets)
	o.openFiles()
	return o
}

// prepare makes a stream of a pipe.
func (p *Pump) prepare(t Target, fd int, open opener) opening {
	return opening{stream: &Stream{pump: p, key: t.Key, fd: fd, inflow: newInflow(fd)}, target: t, queued: t.Buffered, open: open}
}

// openFiles does what needs no knowledge of the other streams.
func (o *opening) openFiles() {
	if !o.queued {
		o.files, o.err = o.open(o.target)
	}
}

// adoptAll runs in the pump's goroutine.
func (p *Pump) adoptAll(all []opening) (bad int, err error) {
	for i := range all {
		o := &all[i]
		if o.queued {
			continue
		}
		err := p.adopt(o.stream, o.target, o.files)
		o.files = nil
		if errors.Is(err, errOwned) { // by a buffered stream, which this one joins
			o.queued = true
			continue
		}
		if err != nil { // the file went away meanwhile
			if o.files, err = o.open(o.target); err == nil {
				err = p.adopt(o.stream, o.target, o.files)
				o.files = nil
			}
		}
		if err != nil {
			for _, done := range all[:i] {
				if !done.queued {
					p.drop(done.stream)
				}
			}
			return i, err
		}
		o.endTorn()
	}
	return 0, nil
}

// endTorn ends the line that a file which took nothing was torn in: the rest of it
// was in the killed daemon's memory, and what follows has been dropped.
func (o *opening) endTorn() {
	if !o.killed || o.count.Error == "" {
		return
	}
	for i := range o.stream.outs {
		if k := o.stream.outs[i].sink; k != nil {
			k.endLine()
		}
	}
}

// openAllQueued opens those that are buffered. If one can't be had, all are closed.
func (p *Pump) openAllQueued(all []opening) (bad int, err error) {
	for i, o := range all {
		if !o.queued {
			continue
		}
		if err := p.openQueued(o); err != nil {
			for j, done := range all {
				if j < i || !done.queued {
					done.stream.Close()
				}
			}
			return i, err
		}
	}
	return 0, nil
}

// startAll lets the streams move.
func (p *Pump) startAll(all []opening) {
	p.do(context.Background(), func() {
		for _, o := range all {
			if !o.queued {
				p.start(o.stream)
			}
		}
	})
	for _, o := range all {
		if o.queued {
			o.stream.startBack()
		}
	}
}

// discard frees what the pump has not got.
func (o opening) discard() {
	if o.stream == nil {
		return
	}
	closeTargets(o.files)
	if o.stream.inflow.basin >= 0 { // whoever holds it keeps it
		unix.Close(o.stream.inflow.basin)
	}
	if o.stream.fd >= 0 { // drop has closed those that were adopted
		unix.Close(o.stream.fd)
	}
}
