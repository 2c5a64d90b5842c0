package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Managers that write each app's log by themselves and rotate it: supervisord, s6, runit, and pm2 with its module. Each is set up
// as its documentation says, with a log for each app, and with the least delay of a restart that it can have.

const keepFiles = 100 // rotated ones of each log: as many as there can be

// logOf is where the log of an app is; one that doesn't say has it among the others.
func (l *life) logOf(a app) string {
	if a.log != "" {
		return a.log
	}
	return filepath.Join(l.dir, "logs", a.name+".log")
}

func makeLogs(l *life) error { return os.MkdirAll(filepath.Join(l.dir, "logs"), 0o700) }

// shell is an app's command, quoted for one.
func (l *life) shell(a app) string {
	words := append([]string{l.child}, a.args...)
	for i, w := range words {
		words[i] = quoted(w)
	}
	return strings.Join(words, " ")
}

func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// rotator is pm2 with its separate module for rotation, which looks at each log once a second.
type rotator struct {
	pm
	module string
}

func (r rotator) name() string { return rotatorName }

func (r rotator) file(l *life) string { return filepath.Join(l.dir, "rotator.json") }

func (r rotator) prepare(l *life) error {
	if err := r.pm.prepare(l); err != nil {
		return err
	}
	conf, err := json.Marshal(map[string]string{"max_size": "10M", "retain": fmt.Sprint(keepFiles), "workerInterval": "1"})
	if err != nil {
		return err
	}
	// As pm2 passes a module's configuration.
	data, err := json.Marshal(map[string]any{"apps": []map[string]any{
		{"name": "rotator", "script": r.module, "env": map[string]string{"pm2-logrotate": string(conf)}}}})
	if err != nil {
		return err
	}
	return os.WriteFile(r.file(l), data, 0o600)
}

func (r rotator) launch(l *life) error {
	if err := l.command([]string{r.program, "start", r.file(l)}); err != nil {
		return err
	}
	return r.pm.launch(l)
}

func (r rotator) logs(a app) []string {
	return glob(strings.TrimSuffix(a.log, ".log")+"__*.log", a.log)
}

func (r rotator) version() string { return packageVersion(filepath.Dir(r.module)) }

// supervisord restarts what ended at its next tick of a second, whatever it is told.
type supervisord struct{ debian }

func (supervisord) name() string { return supervisorName }

func (supervisord) file(l *life) string { return filepath.Join(l.dir, "supervisord.conf") }

func (s supervisord) prepare(l *life) error {
	var c strings.Builder
	fmt.Fprintf(&c, `[unix_http_server]
file=%[1]s/s.sock
[supervisord]
nodaemon=true
logfile=%[1]s/supervisord.log
pidfile=%[1]s/supervisord.pid
childlogdir=%[1]s
minfds=1024
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%[1]s/s.sock
`, l.dir)
	for _, a := range l.apps {
		fmt.Fprintf(&c, `[program:%s]
command=%s
autorestart=true
startsecs=0
redirect_stderr=true
stdout_logfile=%s
stdout_logfile_maxbytes=%d
stdout_logfile_backups=%d
`, a.name, l.shell(a), l.logOf(a), rotateAt, keepFiles)
	}
	if err := makeLogs(l); err != nil {
		return err
	}
	return os.WriteFile(s.file(l), []byte(c.String()), 0o600)
}

func (s supervisord) launch(l *life) error {
	return l.background([]string{s.path("supervisord"), "-c", s.file(l)})
}

func (s supervisord) list(l *life) []string {
	return []string{s.path("supervisorctl"), "-c", s.file(l), "status"}
}

func (s supervisord) logs(a app) []string { return glob(a.log, a.log+".*") }

func (s supervisord) version() string { return s.packaged("supervisor") }

// scanned is what s6 and runit have in common: a folder of services, with a script for each and one for its logger. They write
// a log into a folder: a file "current", and those that were rotated.
type scanned struct{ debian }

func (scanned) folder(l *life) string { return filepath.Join(l.dir, "scan") }

// services writes the scripts; log is the command of the logger of the folder that it gets.
func (s scanned) services(l *life, log func(folder string) string) error {
	for _, a := range l.apps {
		service := filepath.Join(s.folder(l), a.name)
		if err := os.MkdirAll(filepath.Join(service, "log"), 0o700); err != nil {
			return err
		}
		if err := script(filepath.Join(service, "run"), "exec 2>&1\nexec "+l.shell(a)); err != nil {
			return err
		}
		folder := strings.TrimSuffix(l.logOf(a), ".log")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if err := script(filepath.Join(service, "log", "run"), "exec "+log(folder)); err != nil {
			return err
		}
	}
	// runsvdir waits a second where the folder is as young as the current second.
	old := time.Now().Add(-time.Minute)
	return os.Chtimes(s.folder(l), old, old)
}

func (scanned) logs(a app) []string {
	folder := strings.TrimSuffix(a.log, ".log")
	return glob(filepath.Join(folder, "@*"), filepath.Join(folder, "current"))
}

func script(path, text string) error {
	return os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700)
}

// s6 begins a service again a second after its death, unless that says when it is ready.
type s6 struct{ scanned }

func (s6) name() string      { return s6Name }
func (s s6) version() string { return s.packaged("s6") }

func (s s6) launch(l *life) error {
	return l.background([]string{s.path("s6-svscan"), "-c", "2000", s.folder(l)})
}

func (s s6) prepare(l *life) error {
	return s.services(l, func(folder string) string {
		return fmt.Sprintf("s6-log n%d s%d %s", keepFiles, rotateAt, quoted(folder))
	})
}

// list is a loop, because s6 has no listing of its own.
func (s s6) list(l *life) []string {
	return []string{"sh", "-c", `cd "$1" && for i in *; do printf '%s: ' "$i"; s6-svstat "$i"; done`, "sh", s.folder(l)}
}

type runit struct{ scanned }

func (runit) name() string      { return runitName }
func (r runit) version() string { return r.packaged("runit") }

func (r runit) launch(l *life) error {
	return l.background([]string{r.path("runsvdir"), "-P", r.folder(l)})
}

func (r runit) prepare(l *life) error {
	err := r.services(l, func(folder string) string { return "svlogd " + quoted(folder) })
	for _, a := range l.apps {
		if err == nil {
			config := filepath.Join(strings.TrimSuffix(l.logOf(a), ".log"), "config")
			err = os.WriteFile(config, fmt.Appendf(nil, "s%d\nn%d\n", rotateAt, keepFiles), 0o600)
		}
	}
	return err
}

func (r runit) list(l *life) []string {
	return []string{"sh", "-c", `exec sv status "$1"/*`, "sh", r.folder(l)}
}
