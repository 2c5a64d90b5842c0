package watch

import (
	"errors"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// source is what tells changes: fsnotify, or a test.
type source struct {
	events <-chan fsnotify.Event
	errors <-chan error
	add    func(path string) error
	remove func(path string) error
	close  func() error
}

// openSource begins to be told. Errors are taken at once, whatever the Watcher does: fsnotify
// tells some of them while it has its lock, for which add and remove wait.
func openSource() (*source, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	failures, done := make(chan error, 1), make(chan struct{})
	go func() { // ended by close, which waits for it
		defer close(done)
		for err := range w.Errors {
			if errors.Is(err, syscall.EINVAL) {
				continue // a folder was moved and removed: it is not watched any more
			}
			select {
			case failures <- err:
			default: // all is looked at for the one before
			}
		}
	}()
	end := func() error {
		err := w.Close()
		<-done
		return err
	}
	return &source{events: w.Events, errors: failures, add: w.Add, remove: w.Remove, close: end}, nil
}
