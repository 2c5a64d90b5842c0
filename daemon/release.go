package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gopm/ecosystem"
	"gopm/logs"
)

// place of an app's code as `gopm deploy` keeps it: a link "current" that leads to one of
// the folders releases/N beside it.
type releases struct {
	link  string // "/srv/web/current"
	below string // where in a release the app's working directory is; "" = it is the release
}

// releaseLink is what deploy calls the link.
const releaseLink = "current"

// releasesOf finds the link in an app's working directory; the error says why there is none.
func releasesOf(spec ecosystem.App) (r releases, err error) {
	cwd := filepath.Clean(spec.Command.Cwd)
	for dir := cwd; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if filepath.Base(dir) != releaseLink {
			continue
		}
		if info, err := os.Lstat(dir); err == nil && info.Mode().Type() == fs.ModeSymlink {
			return releases{dir, strings.TrimPrefix(strings.TrimPrefix(cwd, dir), "/")}, nil
		}
	}
	return r, fmt.Errorf("its folder %s is no release of gopm deploy (there is no link %q in it): its code is replaced in place, so there is nothing to go back to", cwd, releaseLink)
}

// leadsTo is the folder that the link leads to now.
func (r releases) leadsTo() (string, error) { return filepath.EvalSymlinks(r.link) }

// of is the release that a process was started in: the link led there then.
func (r releases) of(pid int) (string, error) {
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return "", fmt.Errorf("cannot see the folder of process %d: %v", pid, err)
	}
	dir := cwd
	if r.below != "" {
		short, is := strings.CutSuffix(cwd, "/"+r.below)
		if !is {
			return "", fmt.Errorf("process %d has gone to another folder (%s): its release can't be told", pid, cwd)
		}
		dir = short
	}
	if !r.has(dir) {
		return "", fmt.Errorf("process %d runs in %s, which is no release of %s", pid, cwd, filepath.Dir(r.link))
	}
	return dir, nil
}

// has says that a folder is one that the link may lead to: a release, or pm2's "source".
func (r releases) has(dir string) bool {
	base, err := filepath.EvalSymlinks(filepath.Dir(r.link))
	if err != nil {
		return false
	}
	if dir == filepath.Join(base, "source") {
		return true
	}
	_, err = strconv.ParseUint(filepath.Base(dir), 10, 64)
	return err == nil && filepath.Dir(dir) == filepath.Join(base, "releases")
}

// lead makes the link lead to a folder, in one step. A deployment that is under way is
// not disturbed: the lock is deploy's own.
func (r releases) lead(dir, who string) error {
	if !r.has(dir) {
		return fmt.Errorf("%s is no release of %s", dir, filepath.Dir(r.link))
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("the release is not there any more: %v", err)
	}
	base := filepath.Dir(r.link)
	folder, err := logs.OpenFolder(base) // which may be another user's
	if err != nil {
		return err
	}
	defer folder.Close()
	at := int(folder.Fd())
	unlock, err := lockReleases(at, base, who)
	if err != nil {
		return err
	}
	defer unlock()
	realBase, err := filepath.EvalSymlinks(base)
	if err != nil {
		return err
	}
	target, err := filepath.Rel(realBase, dir)
	if err != nil {
		return err
	}
	const fresh = "." + releaseLink
	_ = unix.Unlinkat(at, fresh, 0) // a death has left it
	if err := unix.Symlinkat(target, at, fresh); err != nil {
		return fmt.Errorf("cannot make a link: %v", err)
	}
	if err := unix.Renameat(at, fresh, at, filepath.Base(r.link)); err != nil {
		return fmt.Errorf("cannot change the link: %v", err)
	}
	return nil
}

// lockReleases takes the lock of gopm deploy: a folder that only one can make.
func lockReleases(at int, base, who string) (unlock func(), err error) {
	const name = "lock"
	switch err := unix.Mkdirat(at, name, 0o755); {
	case errors.Is(err, fs.ErrExist):
		by, _ := os.ReadFile(filepath.Join(base, name, "who")) // without it nobody knows
		return nil, fmt.Errorf("a deployment is under way in %s, by %s; if it is dead: rm -r %s", base, cmp.Or(printable(string(by)), "somebody"), filepath.Join(base, name))
	case err != nil:
		return nil, fmt.Errorf("cannot lock %s: %v", base, err)
	}
	lock, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %v", base, err)
	}
	defer unix.Close(lock)
	noteIn(lock, "since", strconv.FormatInt(time.Now().Unix(), 10))
	noteIn(lock, "who", who)
	return func() { _ = os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", at, name)) }, nil
}

// noteIn writes a new file for people; without it nothing is lost.
func noteIn(folder int, name, text string) {
	fd, err := unix.Openat(folder, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == nil {
		_, _ = unix.Write(fd, []byte(text+"\n"))
		unix.Close(fd)
	}
}

// runningRelease is the release that an app's processes are of, if they are of one.
func (a *app) runningRelease() (dir string, err error) {
	r, err := releasesOf(a.spec)
	if err != nil {
		return "", err
	}
	for _, in := range a.instances {
		s := in.proc.Snapshot()
		if s.Pid == 0 {
			continue
		}
		one, err := r.of(s.Pid)
		switch {
		case err != nil:
			return "", err
		case dir != "" && one != dir:
			return "", fmt.Errorf("its processes are of different releases (%s and %s)", filepath.Base(dir), filepath.Base(one))
		}
		dir = one
	}
	if dir != "" {
		return dir, nil
	}
	return r.leadsTo() // nothing runs: that is what would
}

// releaseUnknown stands for a release that can't be told: the processes are of several, as
// in the middle of a reload.
const releaseUnknown = "?"

// releaseName is what people call it.
func releaseName(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Base(dir)
}
