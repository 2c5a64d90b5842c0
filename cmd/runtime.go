package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

const runtimeHelp = `Start what a file describes, or a program, and stay: a container's entrypoint.

  ENTRYPOINT ["gopm", "runtime", "ecosystem.json"]

What apps write goes to stdout and stderr, and into files if their fields name some;
gopm's own words go to stderr. SIGTERM, SIGINT and SIGQUIT stop all apps by that signal,
unless they have a kill_signal, a second one kills them; SIGHUP reloads them, SIGUSR2
opens their log files anew.

The exit code is that of the app which ended it, 128+N if signal N has ended that. When
the last of several apps has ended, it is the first code that isn't 0.
See docs/containers.md.`

// runtimeOptions are the options of runtime, besides those of start.
type runtimeOptions struct {
	startOptions
	exitOn string
	forms  struct{ raw, json, formatted, pairs bool }
	noExit bool
	grace  time.Duration
	delay  string
}

func (c *cli) runtimeCmd() *cobra.Command {
	o := runtimeOptions{startOptions: startOptions{set: map[string]string{}}}
	cmd := &cobra.Command{
		Use:   "runtime [FILE|SCRIPT] [-- ARGS...]",
		Short: "Start a file or program in the foreground, as in a container",
		Long:  runtimeHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range slices.Sorted(maps.Keys(leftOutOfRuntime)) {
				if cmd.Flags().Changed(name) {
					return usagef("--%s is left out on purpose: %s", name, leftOutOfRuntime[name])
				}
			}
			targets, extra := splitDash(cmd, args)
			if len(targets) > 1 && targets[0] == "start" { // as pm2-runtime start FILE
				targets = targets[1:]
			}
			return c.runtime(cmd.Context(), targets, extra, &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.env, "env", "", "use the env_`NAME` blocks of the file")
	f.StringSliceVar(&o.only, "only", nil, "start these `APPS` of the file only")
	f.StringVar(&o.exitOn, "exit-on", api.ExitOnLast, "end when `WHICH` app has ended for good: first, last, failure (the first that fails, or the last), never")
	f.BoolVar(&o.noExit, "no-auto-exit", false, "as --exit-on never")
	f.DurationVar(&o.grace, "grace", 0, "kill what isn't down this `TIME` after the signal to end (default 9s, or the longest kill_timeout and 1s)")
	f.StringVar(&o.delay, "delay", "", "start the apps so many `SECONDS` later")
	f.BoolVar(&o.forms.raw, "raw", false, "write lines as they are (the default)")
	f.BoolVar(&o.forms.formatted, "formatted", false, "write the number and the name of the app before each line")
	f.BoolVar(&o.forms.pairs, "format", false, "write lines as timestamp=… app=… id=… type=… message=…")
	f.BoolVar(&o.forms.json, "json", false, "write each line as a JSON object, gopm's own words, too")
	for name := range leftOutOfRuntime {
		f.String(name, "", "")
		f.Lookup(name).NoOptDefVal = "yes"
		_ = f.MarkHidden(name) // it is there: see above
	}
	addFieldFlags(cmd, o.set)
	f.Lookup("output").Usage = "file for stdout, besides the stream (default: the stream alone)"
	f.Lookup("error").Usage = "file for stderr, besides the stream (default: the stream alone)"
	return cmd
}

// leftOutOfRuntime are options of pm2-runtime.
var leftOutOfRuntime = map[string]string{
	"web":          "gopm opens no port; gopm ls, by docker exec, and gopm metrics tell",
	"secret":       "gopm sends nothing to a service",
	"public":       "gopm sends nothing to a service",
	"machine-name": "gopm sends nothing to a service",
}

// form is how lines are to be written.
func (o *runtimeOptions) form() (string, error) {
	form, n := api.FormRaw, 0
	for _, f := range []struct {
		given bool
		form  string
	}{{o.forms.raw, api.FormRaw}, {o.forms.formatted, api.FormNamed}, {o.forms.pairs, api.FormPairs}, {o.forms.json, api.FormJSON}} {
		if f.given {
			form, n = f.form, n+1
		}
	}
	if n > 1 {
		return "", usagef("--raw, --formatted, --format and --json exclude one another")
	}
	return form, nil
}

// settings are what the options come to, but for what depends on the apps.
func (o *runtimeOptions) settings() (s api.Runtime, err error) {
	if s.Form, err = o.form(); err != nil {
		return s, err
	}
	s.ExitOn, s.Grace = o.exitOn, o.grace
	if o.noExit {
		s.ExitOn = api.ExitOnNever
	}
	all := []string{api.ExitOnFirst, api.ExitOnLast, api.ExitOnFailure, api.ExitOnNever}
	if !slices.Contains(all, s.ExitOn) {
		return s, usagef("--exit-on %s: want one of %s", s.ExitOn, strings.Join(all, ", "))
	}
	if s.Grace < 0 {
		return s, usagef("--grace %s: want a time that isn't negative, as 9s", s.Grace)
	}
	return s, nil
}

// parseDelay reads pm2's seconds, or a time with a unit.
func parseDelay(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if n, e := strconv.ParseFloat(text, 64); e == nil {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return 0, usagef("--delay %s: want seconds, or a time as 500ms", text)
	}
	return d, nil
}

// inForeground is --no-daemon of start and its relatives.
func (c *cli) inForeground(ctx context.Context, targets, extra []string, o *startOptions) error {
	r := runtimeOptions{startOptions: *o, exitOn: api.ExitOnLast}
	r.forms.json = c.json
	return c.runtime(ctx, targets, extra, &r)
}

// runtime becomes the keeper, whose daemon carries the order out. It returns only if
// nothing was started.
func (c *cli) runtime(ctx context.Context, targets, extra []string, o *runtimeOptions) error {
	early := make(chan os.Signal, 4)
	signal.Notify(early, signalsPassedOn...)
	if ctx.Err() != nil { // one came before
		return ctx.Err()
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	if settings.Form == api.FormJSON {
		c.err = &spoken{to: c.err, settings: settings}
	}
	c.out = c.err // stdout is the apps'
	delay, err := parseDelay(o.delay)
	if err != nil {
		return err
	}
	if c.alive() {
		return fmt.Errorf("a gopm daemon runs with the home %s already: gopm start gives it the apps, or set GOPM_HOME to another folder", c.client.Home().Dir)
	}
	c.noteShell()
	o.fresh = true
	todo, err := c.prepareAll(ctx, targets, extra, &o.startOptions)
	if err != nil {
		return err
	}
	order := api.RuntimeOrder{Applies: todo.applies, Delay: delay}
	settings.Width = order.Width()
	if o.grace == 0 {
		settings.Grace = order.Grace()
	}
	for i := range order.Applies {
		a := &order.Applies[i]
		a.Environ, a.Act, a.Update, a.Takeover = environ(), true, true, true
	}
	return c.becomeKeeper(order, settings, early)
}

// spoken writes what a command says as a runtime does.
type spoken struct {
	to       io.Writer
	settings api.Runtime
}

func (s *spoken) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		text := strings.TrimPrefix(strings.TrimSuffix(string(line), "\n"), "gopm: ")
		if _, err := io.WriteString(s.to, s.settings.Words(time.Now(), text)); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// noteShell warns of a shell as a container's PID 1: it passes no signal on.
func (c *cli) noteShell() {
	name, err := os.ReadFile("/proc/1/comm")
	if os.Getppid() != 1 || err != nil {
		return
	}
	if shell := strings.TrimSpace(string(name)); slices.Contains([]string{"sh", "bash", "dash", "ash", "busybox", "zsh", "ksh"}, shell) {
		c.warn(`gopm: warning: process 1 is a shell (%s), which passes no signal on: docker stop will wait, then kill everything. Write the command as JSON: CMD ["gopm", "runtime", "ecosystem.json"]`, shell)
	}
}

// signalsPassedOn are for the apps, or for the daemon.
var signalsPassedOn = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR2}

// becomeKeeper executes this program again, as a keeper that stays where this command
// was started. The order waits in descriptor 3, in memory: it may have secrets.
func (c *cli) becomeKeeper(order api.RuntimeOrder, settings api.Runtime, early chan os.Signal) error {
	home := c.client.Home()
	if err := home.Prepare(); err != nil {
		return err
	}
	words, err := json.Marshal(settings)
	if err == nil {
		err = passOrder(order)
	}
	if err == nil {
		err = os.Chdir("/")
	}
	if err != nil {
		return fmt.Errorf("cannot pass on what is to be started: %v", err)
	}
	env := append(daemonEnviron(), api.RuntimeVariable+"="+string(words))
	c.unhear() // early still hears
	holdSignals()
	// It returns when early has all that were caught.
	signal.Stop(early)
	for { // those that came while the file was read
		select {
		case s := <-early:
			if s == syscall.SIGHUP || s == syscall.SIGUSR2 {
				continue // there is nothing yet to be reloaded
			}
			c.warn("gopm: %v before anything was started", s)
			return quiet{128 + int(s.(syscall.Signal))}
		default:
			err = syscall.Exec("/proc/self/exe", []string{"gopm", keeperWord, home.Dir}, env)
			return fmt.Errorf("cannot become the keeper: %v", err)
		}
	}
}

// holdSignals is for the instants before this thread executes the next program, which
// ends all others: one of them could have just taken a signal, and take it to its grave.
// So this one holds the signals back, and for the others they get their default: the
// kernel then ends the whole process at once, not a handler that may come too late.
// What handlers have begun they finish before this returns. The thread stays with its
// goroutine.
//
// What this thread holds back comes as soon as the next program's runtime begins, which
// lets these signals through before it catches them, and ends that. The kernel keeps a
// default from process 1: there handlers stay, and what comes between the execution and
// the next program's own handlers is lost, as with any program (see docs/containers.md).
func holdSignals() {
	runtime.LockOSThread()
	var mask uint64
	for _, s := range signalsPassedOn {
		mask |= 1 << (uint(s.(syscall.Signal)) - 1)
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
	if os.Getpid() == 1 {
		return
	}
	var byDefault [4]uint64 // the kernel's struct sigaction
	for _, s := range signalsPassedOn {
		if s == syscall.SIGUSR2 { // there are no logs yet: it ends nothing
			continue
		}
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s.(syscall.Signal)), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	}
	// Each thread is told to do something, and can't before it has left its handler. With
	// cgo it isn't told.
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
}

// passOrder puts the order into descriptor 3.
func passOrder(order api.RuntimeOrder) error {
	fd, err := unix.MemfdCreate("gopm-order", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "order")
	if err := json.NewEncoder(file).Encode(order); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if fd == handshakeFD {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		runtime.KeepAlive(file)
		return err
	}
	err = unix.Dup3(fd, handshakeFD, 0)
	runtime.KeepAlive(file)
	return err
}
