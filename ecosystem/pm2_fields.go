package ecosystem

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// This file says how pm2's fields become ours: only what differs from the default.

// fields are the fields of an app, and its notes.
func (im *importer) fields(a *pm2App) jsonFields {
	fs := jsonFields{{"name", a.name}}
	add := func(name string, value any) { fs = append(fs, jsonField{name, value}) }
	if ns := a.text("namespace"); ns != "" && ns != "default" {
		add("namespace", ns)
	}
	fs = append(fs, a.program(im.dir)...)
	isCluster := strings.HasPrefix(a.text("exec_mode"), "cluster")
	if a.count > 1 {
		add("instances", a.count)
	}
	if isCluster != (a.count > 1) {
		add("exec_mode", strings.TrimSuffix(a.text("exec_mode"), "_mode"))
	}
	fs = append(fs, im.policy(a)...)
	fs = append(fs, a.logs()...)
	if env := im.declared(a); len(env) > 0 {
		add("env", env)
	}
	for _, name := range slices.Sorted(maps.Keys(a.fields)) {
		if vars, ok := a.fields[name].(map[string]any); ok && strings.HasPrefix(name, "env_") && len(name) > 4 {
			add(name, vars)
		}
	}
	if status := a.text("status"); status == "stopped" && a.fields["autostart"] != false {
		im.notef("%s: it is stopped in pm2; gopm start starts it", a.name)
	}
	im.noteNode(a)
	return fs
}

// program is what runs.
func (a *pm2App) program(dir string) jsonFields {
	var fs jsonFields
	cwd, script, args := a.text("pm_cwd"), a.text("pm_exec_path"), a.texts("args")
	if filepath.IsAbs(cwd) && filepath.Clean(cwd) != filepath.Clean(dir) {
		fs = append(fs, jsonField{"cwd", cwd})
	}
	interpreter := a.text("exec_interpreter")
	base := filepath.Base(script)
	if (base == "bash" || base == "sh") && interpreter == "none" && len(args) > 1 && args[0] == "-c" && strings.ContainsAny(args[1], " \t\n") {
		script, args = args[1], args[2:] // pm2's form of a command line
	} else {
		script = inFolder(cwd, script)
	}
	fs = append(fs, jsonField{"script", script})
	switch usual := interpreters(filepath.Ext(script)); {
	case interpreter == "" || interpreter == "none":
	case len(usual) > 0 && usual[0] == interpreter:
	default:
		fs = append(fs, jsonField{"interpreter", interpreter})
	}
	if words := a.texts("node_args"); len(words) > 0 {
		fs = append(fs, jsonField{"node_args", words})
	}
	if len(args) > 0 {
		fs = append(fs, jsonField{"args", args})
	}
	return fs
}

// policy are the fields that mean the same in both, in the order they are written. What
// can't be taken, such as a pattern in watch, is noted.
func (im *importer) policy(a *pm2App) jsonFields {
	var fs jsonFields
	for _, name := range []string{
		"uid", "gid", "port", "instance_var", "increment_var", "filter_env",
		"autostart", "autorestart", "stop_exit_codes", "min_uptime", "max_restarts", "restart_delay",
		"exp_backoff_restart_delay", "max_memory_restart", "cron_restart",
		"kill_timeout", "treekill", "shutdown_with_message", "wait_ready", "listen_timeout",
		"watch", "ignore_watch", "watch_delay", "watch_options",
	} {
		value, given := a.fields[name]
		if !given || value == nil || isDefault(name, value) {
			continue
		}
		if n, ok := value.(json.Number); ok && name == "max_memory_restart" {
			if bytes, err := n.Int64(); err == nil {
				value = showSize(bytes)
			}
		}
		if err := taken(name, value); err != nil {
			im.notef("%s: %s not carried over: %v", a.name, name, err)
			continue
		}
		fs = append(fs, jsonField{name, value})
	}
	return fs
}

// taken says why a file with a field of that value could not be read.
func taken(name string, value any) error {
	root := (&reader{}).json([]byte(plainJSON(value)))
	if root == nil {
		return fmt.Errorf("it is no JSON")
	}
	return byName()[name].assign(&draft{app: defaults()}, root, room{cpus: 1, memory: 1 << 40})
}

// isDefault says whether a value asks for what happens anyway.
func isDefault(name string, value any) bool {
	switch name {
	case "uid", "gid", "stop_exit_codes", "max_restarts":
		return value == ""
	case "autostart", "autorestart", "treekill":
		return value == true
	case "instance_var":
		return value == defaults().Scale.InstanceVar
	case "min_uptime":
		return value == json.Number("1000")
	case "exp_backoff_restart_delay":
		return value == json.Number("100") || value == json.Number("0")
	}
	switch v := value.(type) {
	case bool:
		return !v
	case string:
		return v == "" || v == "0" || v == "false"
	case json.Number:
		return v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// logs are the fields of the output. pm2 tells final paths only: those of its own
// folder are its defaults, and its number of the instance is taken out.
func (a *pm2App) logs() jsonFields {
	var fs jsonFields
	cwd := a.text("pm_cwd")
	for _, f := range []struct{ from, to string }{{"pm_out_log_path", "out_file"}, {"pm_err_log_path", "error_file"}, {"pm_pid_path", "pid_file"}, {"pm_log_path", "log_file"}} {
		path := a.text(f.from)
		if path == "" {
			continue
		}
		if own := a.ownFolder(path); own && f.to == "log_file" {
			fs = append(fs, jsonField{f.to, true})
		} else if !own {
			fs = append(fs, jsonField{f.to, inFolder(cwd, a.withoutID(path))})
		}
	}
	if a.count > 1 && a.fields["merge_logs"] == true {
		fs = append(fs, jsonField{"merge_logs", true})
	}
	switch format := a.text("log_date_format"); {
	case a.fields["time"] == true || format == timeFormat:
		fs = append(fs, jsonField{"time", true})
	case format != "":
		fs = append(fs, jsonField{"log_date_format", format})
	}
	if a.text("log_type") == "json" {
		fs = append(fs, jsonField{"log_type", "json"})
	}
	if a.fields["disable_logs"] == true {
		fs = append(fs, jsonField{"disable_logs", true})
	}
	return fs
}

// ownFolder says whether a path is in pm2's own folders for logs and pids.
func (a *pm2App) ownFolder(path string) bool {
	home, _ := a.env["PM2_HOME"].(string)
	if home == "" {
		user, _ := a.env["HOME"].(string)
		home = filepath.Join(user, ".pm2")
	}
	dir := filepath.Dir(path)
	return dir == filepath.Join(home, "logs") || dir == filepath.Join(home, "pids")
}

// withoutID takes pm2's number of the process out of a path: out-7.log.
func (a *pm2App) withoutID(path string) string {
	id := a.text("pm_id")
	if id == "" { // a dump has it in the name of the pid file only
		name := strings.TrimSuffix(filepath.Base(a.text("pm_pid_path")), ".pid")
		id = name[strings.LastIndexByte(name, '-')+1:]
	}
	ext := filepath.Ext(path)
	if a.fields["merge_logs"] == true || id == "" {
		return path
	}
	if short, ok := strings.CutSuffix(strings.TrimSuffix(path, ext), "-"+id); ok {
		return short + ext
	}
	return path
}

// noteNode names the fields that mean nothing here and that somebody has set.
func (im *importer) noteNode(a *pm2App) {
	var names []string
	for i := range table {
		f := &table[i]
		value, given := a.fields[f.name]
		if f.stage != stageNode || !given || f.name == "username" {
			continue
		}
		usual := value == nil || isDefault("", value)
		switch f.name {
		case "vizion", "pmx", "automation", "windowsHide":
			usual = value == true
		case "kill_retry_time":
			usual = value == json.Number("100")
		}
		if !usual {
			names = append(names, f.name)
		}
	}
	if len(names) > 0 {
		im.notef("%s: not carried over, no effect here: %s", a.name, strings.Join(names, ", "))
	}
}
