package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// files are what the two goroutines share.
type files struct {
	mu      sync.Mutex          // guards state.json.next, and what follows
	fresh   []string            // environments that are not safe yet
	needed  map[string][]string // the environments of the document that is being written,
	written map[string][]string // and of the one in state.json.next

	unsafe chan struct{} // room for one: something was written that isn't safe yet
	safe   chan struct{} // closed when the goroutine that makes it safe has ended
	sync   func(path string) (os.FileInfo, error)
}

// write puts a document into state.json.next.
func (s *store) write(doc document) error {
	err := s.allowed()
	if err == nil {
		err = s.writeEnvs(doc.envs)
	}
	if err == nil {
		s.files.mu.Lock()
		if err = replace(s.home.NextState(), doc.text); err == nil {
			s.files.written = doc.envs
			s.done.writes.Add(1)
			s.done.size.Store(int64(len(doc.text)))
		}
		s.files.mu.Unlock()
	}
	if err != nil {
		s.note(err)
		return err
	}
	select {
	case s.files.unsafe <- struct{}{}:
	default:
	}
	return nil
}

// secure makes what was written last safe from a power cut. The disk is waited for under
// a second name: a newer file may come meanwhile, and whoever writes one doesn't wait.
func (s *store) secure() error {
	if err := s.syncEnvs(); err != nil {
		return err
	}
	second := s.home.State() + ".safe"
	_ = os.Remove(second) // of a daemon that was killed
	err := os.Link(s.home.NextState(), second)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is state.json already
	}
	if err != nil {
		return s.secureInPlace()
	}
	defer os.Remove(second) // else it is state.json
	synced, err := s.files.sync(second)
	if err != nil {
		return err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if err := os.Rename(second, s.home.State()); err != nil {
		return err
	}
	if now, err := os.Lstat(s.home.NextState()); err == nil && os.SameFile(now, synced) {
		os.Remove(s.home.NextState()) // if it stays, it is the same
		s.sweepEnvs()
	}
	return nil
}

// secureInPlace is for a file system without second names. If a newer file has come
// meanwhile, that is waited for with the lock held, or it might go on like this for ever.
func (s *store) secureInPlace() error {
	synced, err := s.files.sync(s.home.NextState())
	if err != nil {
		return err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if now, err := os.Lstat(s.home.NextState()); err == nil && !os.SameFile(now, synced) {
		if _, err := s.files.sync(s.home.NextState()); err != nil {
			return err
		}
	}
	if err := os.Rename(s.home.NextState(), s.home.State()); err != nil {
		return err
	}
	s.sweepEnvs()
	return nil
}

// syncFile waits until a file is on its disk, and says which it was.
func syncFile(path string) (os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return f.Stat()
}

// replace puts a whole file in the place of another: who reads sees one or the other.
func replace(path string, text []byte) error {
	temporary := path + ".tmp"
	_ = os.Remove(temporary) // of a daemon that was killed; what is written into is always a file of ours
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer f.Close()
	_, err = f.Write(text)
	if e := f.Chmod(0o600); err == nil { // whatever the umask
		err = e
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary) // half a file takes room on a full disk
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}
