package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// homeFindings are about the home, its socket and the state in it.
func (p *patient) homeFindings() (all []finding) {
	const what = "home"
	dir := p.home.Dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		at := existing(dir)
		if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
			return []finding{failure(what, fmt.Sprintf("%s is not there and cannot be made in %s: %v", dir, at, err), "GOPM_HOME=a folder that "+ownName()+" can write to")}
		}
		return []finding{fine(what, "%s: not there yet, and can be made", dir)}
	case err != nil:
		return []finding{failure(what, err.Error(), "GOPM_HOME=a folder of your own")}
	}
	if err := p.home.Check(); err != nil {
		all = append(all, failure(what, err.Error(), "chown and chmod 700 it, or GOPM_HOME=a folder of your own"))
	} else {
		all = append(all, fine(what, "%s, %v, of %s", dir, info.Mode().Perm(), ownName()))
	}
	if info, err := os.Lstat(p.home.Socket()); err == nil {
		all = append(all, socketFinding(p.home.Socket(), info))
	}
	if _, err := p.home.LoadState(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		all = append(all, failure("state", err.Error(), "mend it; else gopm start puts it aside and begins without apps"))
	}
	return all
}

func ownName() string { return userName(uint32(os.Geteuid())) }

// existing is the nearest folder above a path that is there.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		path = filepath.Dir(path)
	}
	return path
}

func socketFinding(path string, info fs.FileInfo) finding {
	const what = "socket"
	st, _ := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != fs.ModeSocket:
		return failure(what, path+" is not a socket", "move it away")
	case st != nil && int(st.Uid) != os.Geteuid():
		return failure(what, fmt.Sprintf("%s belongs to %s", path, userName(st.Uid)), "sudo -u "+userName(st.Uid)+" gopm …, or GOPM_HOME=a folder of your own")
	case info.Mode().Perm() != 0o600:
		return failure(what, fmt.Sprintf("%s has the rights %v: others can give orders", path, info.Mode().Perm()), "chmod 600 "+path)
	}
	return fine(what, "%s, %v", path, info.Mode().Perm())
}

// disk is a file system that gopm writes to.
type disk struct {
	dir         string // one of the folders on it
	free, total int64  // bytes
	nodes, room int64  // free inodes, and all; 0 = it doesn't count them
	readOnly    bool
	denied      []string // folders of logs that may not be written to
}

// disks are those of the home and of the logs, each once.
func (p *patient) disks() (all []disk) {
	dirs := []string{p.home.Dir}
	for _, d := range p.details {
		for _, l := range []api.LogInfo{d.Out, d.Err} {
			for _, path := range []string{l.Path, l.Also} {
				if filepath.IsAbs(path) && !strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/proc/") {
					dirs = append(dirs, filepath.Dir(path))
				}
			}
		}
	}
	slices.Sort(dirs[1:])
	seen := map[unix.Fsid]int{}
	for _, dir := range slices.Compact(dirs) {
		at := existing(dir)
		var st unix.Statfs_t
		if unix.Statfs(at, &st) != nil {
			continue
		}
		i, known := seen[st.Fsid]
		if !known {
			i = len(all)
			seen[st.Fsid] = i
			all = append(all, disk{dir: at, free: int64(st.Bavail) * st.Bsize, total: int64(st.Blocks) * st.Bsize,
				nodes: int64(st.Ffree), room: int64(st.Files), readOnly: st.Flags&unix.ST_RDONLY != 0})
		}
		if at == dir && unix.Access(dir, unix.W_OK|unix.X_OK) != nil && !all[i].readOnly {
			all[i].denied = append(all[i].denied, dir)
		}
	}
	return all
}

func diskFindings(all []disk) (found []finding) {
	const enough, little = 1 << 30, 64 << 10
	for _, d := range all {
		what := "disk of " + d.dir
		text := fmt.Sprintf("%s of %s free", bytesText(d.free), bytesText(d.total))
		clear := "make room; max_total_size and retain bound the logs of apps, gopm flush empties them"
		switch {
		case d.readOnly:
			found = append(found, failure(what, "it is mounted read-only", "GOPM_HOME=a folder that can be written (a tmpfs of 1 MB is enough), and logs elsewhere"))
		case d.free < little:
			found = append(found, failure(what, text, clear))
		case d.room > 0 && d.nodes == 0:
			found = append(found, failure(what, "no inodes are free", "remove files: "+clear))
		case d.free < d.total/20 && d.free < enough:
			found = append(found, warning(what, text, clear))
		case d.room > 0 && d.nodes < d.room/100:
			found = append(found, warning(what, fmt.Sprintf("%d of %d inodes free", d.nodes, d.room), "remove files: "+clear))
		default:
			found = append(found, fine(what, "%s", text))
		}
		for _, dir := range d.denied {
			found = append(found, failure("logs in "+dir, ownName()+" cannot write there", "chown it, or other paths in out_file and error_file"))
		}
	}
	return found
}

// programFindings are about the one that reads ecosystem.config.js.
func (p *patient) programFindings(getwd func() (string, error), look func(string) (string, error)) []finding {
	const what = "node"
	path, err := look("node")
	if err == nil {
		return []finding{fine(what, "%s: reads ecosystem.config.js", path)}
	}
	var files []string
	for _, d := range p.details {
		files = append(files, d.Origin)
	}
	if dir, err := getwd(); err == nil {
		here, _ := filepath.Glob(filepath.Join(dir, "*.config.*js")) // the pattern is good
		files = append(files, here...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "js") {
			return []finding{warning(what, "not on PATH, and "+file+" needs it to be read", "install node, or write the file as JSON or YAML")}
		}
	}
	return []finding{fine(what, "not on PATH: only ecosystem.config.js would need it")}
}
