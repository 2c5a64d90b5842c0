package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Adoption is a stream of an earlier daemon.
type Adoption struct {
	Target Target
	Pipe   *os.File // Stream.Pipe, or what a program has as its stdout; nil: the stream gets a new pipe
	Second *os.File // what Options.Second was last told; its bytes come before those of Pipe
	Count  Stats    // from which Bytes, Dropped, DroppedSince and Rotations go on; Error: the file took nothing
	Killed bool     // the daemon has not handed over: what it had in memory is missing
}

// AdoptAll goes on with the streams of a daemon that has handed over or was killed,
// all or none. The files in all are closed, so that there are never twice as many
// descriptors as needed; the streams have their own.
//
// It fails only for want of descriptors or memory for pipes. A stream whose file
// can't be opened shows that in its Stats and counts what it drops until the file can be
// opened, which is tried once a second.
func (p *Pump) AdoptAll(all []Adoption) ([]*Stream, error) {
	parts := make([]opening, len(all))
	inParallel(len(all), func(i int) error {
		parts[i] = p.takePipes(all[i])
		return parts[i].err
	})
	if _, err := firstError(parts); err == nil { // there are descriptors for all pipes; what is left is for files
		inParallel(len(all), func(i int) error { parts[i].openFiles(); return nil })
	}
	streams, bad, err := p.openPrepared(parts)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with log %s: %w", all[bad].Target.Path, err)
	}
	p.packLeft(all)
	return streams, nil
}

// packLeft has those rotated files compressed, and half-compressed ones removed,
// that the earlier daemon didn't come to.
func (p *Pump) packLeft(all []Adoption) {
	folders := map[string][]string{}
	for _, a := range all {
		for _, path := range []string{a.Target.Path, a.Target.Also} {
			if path == "" || !a.Target.Rotation.Compress {
				continue
			}
			path = whereIs(path)
			dir := filepath.Dir(path)
			if _, listed := folders[dir]; !listed {
				folders[dir] = listFolder(dir)
			}
			if leftUnpacked(folders[dir], path) {
				p.fam.packer.add(p.fam.history(path), a.Target.Rotation)
			}
		}
	}
}

// leftUnpacked looks for such files of a log in a sorted folder listing.
func leftUnpacked(listing []string, path string) bool {
	prefix, ext := splitName(path)
	i, _ := slices.BinarySearch(listing, prefix)
	for ; i < len(listing) && strings.HasPrefix(listing[i], prefix); i++ {
		name, half := strings.CutSuffix(listing[i], packingExt)
		if _, ours := stampOf(name, prefix, ext); ours && (half || !packedName(name, path)) {
			return true
		}
	}
	return false
}

// takePipes makes a stream of the pipes of an earlier one.
func (p *Pump) takePipes(a Adoption) (o opening) {
	t := a.Target
	fd, err := takePipe(a.Pipe)
	if a.Pipe == nil {
		fd, err = newPipe(t.UID, t.GID)
	}
	if err != nil {
		return opening{err: err}
	}
	o = p.prepare(t, fd, openLeniently)
	in := &o.stream.inflow
	if a.Second != nil {
		in.basin, o.err = takePipe(a.Second)
		in.left = o.err == nil
	}
	in.taken = a.Count.Bytes + a.Count.Dropped
	o.stream.outs[0].count = dropped{a.Count.Dropped, a.Count.DroppedSince}
	o.stream.outs[0].rotations = a.Count.Rotations
	o.count, o.killed = a.Count, a.Killed
	return o
}

// takePipe exchanges a pipe for a description of our own. The old one may be
// another process's, too.
func takePipe(f *os.File) (fd int, err error) {
	if f == nil {
		return -1, nil
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("cannot open its pipe: %w", err)
	}
	if e := raw.Control(func(old uintptr) { fd, err = reopen(int(old), unix.O_RDWR|unix.O_NONBLOCK) }); e != nil {
		err = e
	}
	if err != nil {
		return -1, fmt.Errorf("cannot open its pipe: %w", err)
	}
	return fd, nil
}
