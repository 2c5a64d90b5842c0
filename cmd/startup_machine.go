package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"gopm/daemon/api"
)

// machine is what startup sees and changes of a computer.
type machine struct {
	root   string // before the names of all files; "" but in tests
	uid    int
	getenv func(string) string
	look   func(program string) (path string, err error)
	run    func(ctx context.Context, argv []string) error
}

func realMachine() machine {
	return machine{uid: os.Geteuid(), getenv: os.Getenv, look: exec.LookPath, run: runProgram}
}

// runProgram runs a program and gives what it said as the error.
func runProgram(ctx context.Context, argv []string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(string(out)); said != "" {
		return fmt.Errorf("%s: %s", strings.Join(argv, " "), said)
	}
	return fmt.Errorf("%s: %v", strings.Join(argv, " "), err)
}

// bootPlan is one call of startup, worked out.
type bootPlan struct {
	name string // of the unit, with .service
	file string
	own  bool
	user string
	unit unit
}

// plan works out a call. The home of gopm is that of GOPM_HOME if it is set, else the
// user's; HOME is only believed for the user who calls.
func (m machine) plan(o startupOptions, mine api.Home) (p bootPlan, err error) {
	if o.own && o.user != "" {
		return p, usagef("--user is for your own systemd: without -u")
	}
	self := userName(uint32(m.uid))
	p.own, p.user = o.own, orElse(o.user, self)
	userHome, err := m.homeOf(p.user, o)
	if err != nil {
		return p, err
	}
	binary, err := ownBinary()
	if err != nil {
		return p, err
	}
	home := mine.Dir
	if m.getenv("GOPM_HOME") == "" {
		home = filepath.Join(userHome, ".gopm")
	}
	p.unit = unit{binary: binary, user: p.user, userHome: userHome, home: home, path: cleanPath(m.getenv("PATH")), online: o.online}
	for _, name := range knownBy {
		if value := m.getenv(name); value != "" {
			p.unit.known = append(p.unit.known, name+"="+value)
		}
	}
	name := orElse(strings.TrimSuffix(o.service, ".service"), "gopm")
	folder := "/etc/systemd/system"
	switch {
	case o.own:
		p.unit.user = ""
		folder = filepath.Join(orElse(m.getenv("XDG_CONFIG_HOME"), filepath.Join(userHome, ".config")), "systemd/user")
	case o.service == "" && p.user != "root":
		name += "-" + p.user
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return p, usagef("a unit cannot be called %q: want letters, digits, - _ and .; choose one with --service-name", name)
	}
	p.name = name + ".service"
	p.file = m.root + filepath.Join(folder, p.name)
	return p, nil
}

// homeOf is the home of a user: what the call says, else that of the user database.
func (m machine) homeOf(name string, o startupOptions) (string, error) {
	home, known := o.home, o.home != ""
	if !known {
		u, err := user.Lookup(name)
		switch {
		case err == nil:
			home = u.HomeDir
		case o.user == "":
			home = m.getenv("HOME") // of us, whom /etc/passwd doesn't have
		default:
			return "", usagef("there is no user %s in /etc/passwd; if another directory has it: --hp HOME", name)
		}
	}
	if !filepath.IsAbs(home) {
		return "", usagef("the home of %s is %q: want an absolute path; give it with --hp", name, home)
	}
	return filepath.Clean(home), nil
}

// ownBinary is the path of this program by which it was called if that is the same
// file: a link to the current version stays right when the version changes.
func ownBinary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot tell where this program is: %v", err)
	}
	if called, err := exec.LookPath(os.Args[0]); err == nil {
		called, err := filepath.Abs(called)
		if err == nil && sameFile(called, self) {
			return behindShim(called), nil
		}
	}
	if _, err := os.Stat(self); err != nil {
		return "", errors.New("this program's file was replaced or removed: call startup with the new one")
	}
	return self, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// cleanPath is PATH without what is not absolute.
func cleanPath(path string) string {
	var dirs []string
	for dir := range strings.SplitSeq(path, ":") {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	return orElse(strings.Join(dirs, ":"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

// commands enable or disable the unit; systemd reads its files anew before it can be
// enabled, and after it was disabled and removed.
func (p bootPlan) commands(verb string) []string {
	manager := "systemctl "
	if p.own {
		manager = "systemctl --user "
	}
	if verb == "enable" {
		return []string{manager + "daemon-reload", manager + "enable " + p.name}
	}
	return []string{manager + "disable " + p.name, manager + "daemon-reload"}
}

// asUser is how the user of the unit calls gopm from the shell that called startup.
func (p bootPlan) asUser(word string) string {
	call := "gopm " + word
	if filepath.Join(p.unit.userHome, ".gopm") != p.unit.home {
		call = "env GOPM_HOME=" + quoteShell(p.unit.home) + " " + call
	}
	if p.user != userName(uint32(os.Geteuid())) {
		call = "sudo -iu " + quoteShell(p.user) + " " + call
	}
	return call
}

// sudoLine is the call that root has to make.
func (m machine) sudoLine(word string, o startupOptions, p bootPlan) string {
	words := []string{"sudo", "env", "PATH=" + quoteShell(p.unit.path)}
	if home := m.getenv("GOPM_HOME"); home != "" {
		words = append(words, "GOPM_HOME="+quoteShell(p.unit.home))
	}
	for _, entry := range p.unit.known {
		name, value, _ := strings.Cut(entry, "=")
		words = append(words, name+"="+quoteShell(value))
	}
	words = append(words, quoteShell(p.unit.binary), word, "-u", quoteShell(p.user))
	if word == "startup" {
		words = append(words, "--hp", quoteShell(p.unit.userHome))
	}
	if o.service != "" {
		words = append(words, "--service-name", quoteShell(o.service))
	}
	if o.online {
		words = append(words, "--wait-ip")
	}
	return strings.Join(words, " ")
}

func quoteShell(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=,-"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (m machine) has(program string) bool {
	_, err := m.look(program)
	return err == nil
}

// otherInit names the init systems that are known by a program of theirs.
func (m machine) otherInit() string {
	var found []string
	for _, s := range [...]struct{ program, name string }{
		{"rc-update", "openrc"}, {"runsvdir", "runit"}, {"s6-svscan", "s6"}, {"dinitctl", "dinit"},
		{"initctl", "upstart"}, {"update-rc.d", "sysvinit"}, {"chkconfig", "sysvinit"},
	} {
		if m.has(s.program) {
			found = append(found, s.name)
		}
	}
	return orElse(strings.Join(found, ", "), "no init system that gopm knows")
}

// booted says whether systemd runs this machine.
func (m machine) booted() bool {
	info, err := os.Stat(m.root + "/run/systemd/system")
	return err == nil && info.IsDir()
}

// systemctl runs commands. Where systemd doesn't run there is nobody to read anew.
func (m machine) systemctl(ctx context.Context, commands []string) error {
	for _, command := range commands {
		if strings.HasSuffix(command, " daemon-reload") && !m.booted() {
			continue
		}
		err := m.run(ctx, strings.Fields(command))
		if err != nil && strings.Contains(command, "--user") {
			return fmt.Errorf("%w (it needs a login of your own, by ssh or at the machine: not through su or sudo)", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isOurs says whether a unit file is there; one that startup didn't write is an error.
func (m machine) isOurs(file string) (there bool, err error) {
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read the unit: %v", err)
	case !bytes.HasPrefix(text, []byte(unitMark)):
		return false, fmt.Errorf("%s was not written by gopm startup and is left alone; choose another name with --service-name", file)
	}
	return true, nil
}

// write puts the unit file in its place, whole or not at all.
func (m machine) write(file, text string) (changed bool, err error) {
	there, err := m.isOurs(file)
	if err != nil {
		return false, err
	}
	if there {
		if now, err := os.ReadFile(file); err == nil && string(now) == text {
			return false, nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return false, fmt.Errorf("cannot write the unit: %v", err)
	}
	if err := replaceFile(file, text); err != nil {
		return false, fmt.Errorf("cannot write the unit: %v", err)
	}
	return true, nil
}

func (m machine) lingers(name string) bool {
	_, err := os.Stat(m.root + "/var/lib/systemd/linger/" + name)
	return err == nil
}

// inUnit says whether a process runs in the unit.
func (m machine) inUnit(pid int, name string) bool {
	text, _ := os.ReadFile(m.root + "/proc/" + strconv.Itoa(pid) + "/cgroup") // gone: no
	return strings.Contains(string(text)+"\n", "/"+name+"\n")
}

// mayChange is the user beside root who may change a file, "" for none.
func (m machine) mayChange(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid != 0:
		return userName(st.Uid)
	case info.Mode().Perm()&0o002 != 0:
		return "everybody"
	}
	return ""
}
