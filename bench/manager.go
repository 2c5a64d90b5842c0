package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// manager is one of those that are compared.
type manager interface {
	name() string
	// environment is what its processes need besides the life's own variables.
	environment(l *life) []string
	// prepare writes what launch needs; it isn't part of any measured time.
	prepare(l *life) error
	// launch starts the manager and all apps of l, and returns when its command does.
	launch(l *life) error
	// list is the command that lists the apps.
	list(l *life) []string
}

// app is one program to be managed: a mode of the child.
type app struct {
	name string
	args []string
	// of an app whose output matters: its file (else it is where the manager likes), and how many lines it writes
	log   string
	lines int
	web   *web // of an app that serves HTTP
}

// pm is pm2, or what has its words.
type pm struct {
	label, program, homeVariable string
	startFlags                   []string
	logFields                    map[string]any // of an app whose log matters
}

func gopmManager(program string) manager {
	return pm{label: gopmName, program: program, homeVariable: "GOPM_HOME", startFlags: []string{"--no-wait"},
		logFields: map[string]any{"max_size": "10M", "retain": 100}}
}

// pm2Manager is pm2 without its separate rotation module, which loses lines (and so is no comparison).
func pm2Manager(program string) manager {
	return pm{label: pm2Name, program: program, homeVariable: "PM2_HOME",
		logFields: map[string]any{"merge_logs": true}}
}

func (p pm) name() string { return p.label }

func (p pm) environment(l *life) []string {
	return []string{p.homeVariable + "=" + filepath.Join(l.dir, "home"), "PM2_DISABLE_VERSION_CHECK=1"}
}

func (p pm) file(l *life) string { return filepath.Join(l.dir, "ecosystem.json") }

func (p pm) prepare(l *life) error {
	var apps []map[string]any
	for _, a := range l.apps {
		one := map[string]any{"name": a.name, "script": l.child, "args": a.args, "interpreter": "none",
			"exec_mode": "fork", "autorestart": true, "cwd": l.dir}
		if a.web != nil {
			maps.Copy(one, a.web.fields(p.label))
		}
		if a.log != "" {
			one["out_file"], one["error_file"] = a.log, filepath.Join(l.dir, "error-"+a.name+".log")
			for k, v := range p.logFields {
				one[k] = v
			}
		}
		apps = append(apps, one)
	}
	data, err := json.Marshal(map[string]any{"apps": apps})
	if err != nil {
		return err
	}
	return os.WriteFile(p.file(l), data, 0o600)
}

func (p pm) launch(l *life) error {
	return l.command(append([]string{p.program, "start", p.file(l)}, p.startFlags...))
}

func (p pm) list(*life) []string { return []string{p.program, "ls"} }

// foresee saves the list of pm2's apps, as its documentation says; gopm needs nothing.
func (p pm) foresee(l *life) error {
	if p.label == gopmName {
		return nil
	}
	return l.command([]string{p.program, "save"})
}

// comeBack is any command of gopm's, and pm2's for the apps that were saved.
func (p pm) comeBack(l *life) error {
	if p.label == gopmName {
		return l.command(p.list(l))
	}
	return l.command([]string{p.program, "resurrect"})
}

func (p pm) version() string {
	if p.label == gopmName {
		return said(p.program, "--version")
	}
	real, err := filepath.EvalSymlinks(p.program)
	if err != nil {
		return "unknown"
	}
	return packageVersion(filepath.Dir(filepath.Dir(real)))
}

// packageVersion is that of an npm package in a folder.
func packageVersion(folder string) string {
	var p struct{ Version string }
	if json.Unmarshal([]byte(readFile(filepath.Join(folder, "package.json"))), &p) != nil || p.Version == "" {
		return "unknown"
	}
	return p.Version
}

// quit ends the manager and its apps with its own word.
func (p pm) quit(l *life) error { return l.command([]string{p.program, "kill"}) }

// floorManager is child.c's "super": no logs, no configuration, no client.
type floorManager struct{ supervisor, child string }

func (floorManager) name() string               { return floorName }
func (floorManager) environment(*life) []string { return nil }
func (f floorManager) prepare(*life) error      { return nil }
func (f floorManager) list(l *life) []string    { return []string{f.child, "list", l.stamps.path} }

func (f floorManager) launch(l *life) error {
	argv := []string{f.supervisor, "super", f.child, l.stamps.path, strconv.Itoa(len(l.apps))}
	for _, a := range l.apps {
		if a.web != nil {
			argv = append(argv, strconv.Itoa(a.web.port))
		}
	}
	return l.background(argv)
}

// background starts a command that stays until the life ends.
func (l *life) background(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = l.env, l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the %s: %v", l.name(), err)
	}
	l.own = append(l.own, cmd)
	return nil
}

// shown counts the apps that a listing names.
func shown(output string, apps []app) int {
	n := 0
	for _, a := range apps {
		if strings.Contains(output, a.name) {
			n++
		}
	}
	return n
}
