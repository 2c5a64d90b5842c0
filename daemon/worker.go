package daemon

import "sync"

// worker is a goroutine that is there only while something needs it.
type worker struct {
	mu         sync.Mutex // guards the rest
	stop, done chan struct{}
}

// keep starts run, or ends it and waits, so that it runs if it is needed. run
// returns when stop is closed.
func (w *worker) keep(needed bool, run func(stop <-chan struct{})) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case needed && w.stop == nil:
		stop, done := make(chan struct{}), make(chan struct{})
		w.stop, w.done = stop, done
		go func() { // ended by keep or close, which wait for it
			defer close(done)
			run(stop)
		}()
	case !needed && w.stop != nil:
		close(w.stop)
		<-w.done
		w.stop, w.done = nil, nil
	}
}

func (w *worker) close() { w.keep(false, nil) }

// upkeep is those who work for the apps that ask for it.
type upkeep []interface {
	look() // sees what the table has now
	close()
}

func (u upkeep) look() {
	for _, w := range u {
		w.look()
	}
}

func (u upkeep) close() {
	for _, w := range u {
		w.close()
	}
}
