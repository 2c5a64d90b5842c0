package logs

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// packingExt is what the name of a compressed file has more while it isn't whole:
// no reader, and no limit of the number of files, takes it for a rotated one.
const packingExt = packedExt + ".tmp"

// errStopped: the pump is being closed.
var errStopped = errors.New("compressing was interrupted")

// packer compresses rotated files, one at a time, and removes those that are too many. Its goroutine is there while
// there is something to do.
type packer struct {
	log  func(format string, args ...any)
	stop atomic.Bool
	said time.Time // when log was last told of a failure; the goroutine's

	mu      sync.Mutex // guards what follows
	jobs    []packing
	working chan struct{} // closed when the goroutine has ended; nil: there is none
}

// packing is a log whose rotated files are to be compressed, or only counted.
type packing struct {
	log      *history
	retain   int
	compress bool
}

// add has the rotated files of a log compressed, and the oldest removed. All of them,
// because an earlier attempt may have been interrupted.
func (k *packer) add(log *history, r Rotation) {
	if r.Retain <= 0 && !r.Compress {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	job := packing{log, r.Retain, r.Compress}
	if k.stop.Load() || slices.Contains(k.jobs, job) {
		return
	}
	k.jobs = append(k.jobs, job)
	if k.working == nil {
		k.working = make(chan struct{})
		go k.run(k.working) // ends when there is nothing to do, or by close, which waits for it
	}
}

func (k *packer) run(ended chan struct{}) {
	defer close(ended)
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one there is
	for {
		k.mu.Lock()
		if len(k.jobs) == 0 || k.stop.Load() {
			k.working = nil
			k.mu.Unlock()
			return
		}
		job := k.jobs[0]
		k.jobs = k.jobs[1:]
		k.mu.Unlock()
		if job.compress {
			job.log.prune(job.retain) // what is too old isn't compressed before that
			k.packAll(job.log.path, z)
		}
		job.log.prune(job.retain)
	}
}

// close interrupts the goroutine and returns a channel that is closed when it has ended.
func (k *packer) close() <-chan struct{} {
	k.stop.Store(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.working != nil {
		return k.working
	}
	ended := make(chan struct{})
	close(ended)
	return ended
}

// packAll compresses the rotated files of a log, the oldest first.
func (k *packer) packAll(path string, z *gzip.Writer) {
	f, err := openFolder(filepath.Dir(path), false)
	if err != nil {
		return // the folder is gone, and what was in it
	}
	defer f.close()
	prefix, ext := splitName(path)
	names := f.list()
	for _, name := range names {
		whole, left := strings.CutSuffix(name, packingExt)
		if _, ours := stampOf(whole, prefix, ext); left && ours {
			_ = f.remove(name) // of an interrupted attempt
		}
	}
	for _, name := range names {
		if _, ours := stampOf(name, prefix, ext); !ours || packedName(name, path) {
			continue
		}
		err := k.pack(f, name, z)
		switch {
		case err == errStopped:
			return
		case err == nil, errors.Is(err, fs.ErrNotExist): // removed meanwhile, being too old
		default:
			if now := time.Now(); now.Sub(k.said) >= repeatAfter {
				k.said = now
				k.log("cannot compress log %s: %v; it stays as it is until the next rotation", filepath.Join(f.dir, name), err)
			}
			return
		}
	}
}

// pack replaces a file by its compressed copy, which has its time, owner and mode.
// At every moment one of the two is whole and has its final name.
func (k *packer) pack(f folder, name string, z *gzip.Writer) error {
	fd, err := f.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	from := os.NewFile(uintptr(fd), filepath.Join(f.dir, name))
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it isn't a file")
	}
	temp := name + packingExt
	if fd, err = f.create(temp, unix.O_WRONLY, ownerOf(&st)); err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), filepath.Join(f.dir, temp))
	z.Reset(to)
	err = k.copy(z, from)
	if err == nil {
		err = finish(to, &st)
	}
	to.Close()
	if err == nil {
		err = f.rename(temp, name+packedExt)
	}
	if err != nil {
		_ = f.remove(temp)
		return err
	}
	if err = f.remove(name); errors.Is(err, fs.ErrNotExist) { // it was too old meanwhile, and so is its copy
		_ = f.remove(name + packedExt)
	}
	return err
}

// copy compresses everything, unless it is interrupted.
func (k *packer) copy(z *gzip.Writer, from *os.File) error {
	buf := make([]byte, 64<<10)
	for {
		if k.stop.Load() {
			return errStopped
		}
		n, err := from.Read(buf)
		if _, e := z.Write(buf[:n]); e != nil {
			return e
		}
		if err == io.EOF {
			return z.Close()
		}
		if err != nil {
			return err
		}
	}
}

// finish brings a copy to the disk, with the time of the original.
func finish(to *os.File, st *unix.Stat_t) error {
	times := []unix.Timeval{unix.NsecToTimeval(st.Atim.Nano()), unix.NsecToTimeval(st.Mtim.Nano())}
	if err := unix.Futimes(int(to.Fd()), times); err != nil {
		return err
	}
	return to.Sync()
}
