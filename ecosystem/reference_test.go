package ecosystem

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const reference = "../docs/ecosystem.md"

// TestReference: the reference of all fields is what the table says.
func TestReference(t *testing.T) {
	t.Parallel()
	want := referenceText()
	got, err := os.ReadFile(reference)
	if err == nil && string(got) == want {
		return
	}
	if *update {
		must(t, os.WriteFile(reference, []byte(want), 0o644))
		return
	}
	t.Errorf("%s is not what the table of fields says (%v); to write it anew: go test ./ecosystem -run TestReference -args -update", reference, err)
}

// TestExamples: the example of each field is taken as it stands.
func TestExamples(t *testing.T) {
	t.Parallel()
	for i := range table {
		f := &table[i]
		switch {
		case f.stage != stageNow:
			continue
		case !json.Valid([]byte(f.example)):
			t.Errorf("%s: example %s", f.name, f.example)
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.file("server.js", "1\n")
			p.file("api/server.js", "1\n")
			p.file(".env", "A=1\n")
			p.program("build", "#!/bin/sh\n")
			p.file("src/a.js", "1\n")
			p.file("config.json", "{}\n")
			file := `[{"script": "server.js", "` + f.name + `": ` + f.example + `}]`
			switch f.name {
			case "script":
				file = `[{"script": ` + f.example + `}]`
			case "port_step":
				file = `[{"script": "server.js", "port": 3000, "port_step": ` + f.example + `}]`
			}
			_, err := p.read("e.json", file)
			if (f.name == "uid" || f.name == "gid") && err != nil && strings.Contains(err.Error(), "on this machine") {
				return // a machine without www-data
			}
			must(t, err)
		})
	}
}

const referenceHead = `# The ecosystem file

<!-- Made from the table of fields (ecosystem/table.go) by: go test ./ecosystem -run TestReference -args -update -->

What ` + "`gopm start`" + ` reads: JSON with comments and trailing commas, YAML, a module that node evaluates
(` + "`*.config.js`, `*.config.cjs`, `*.config.mjs`" + `), or a Procfile. Without an argument the first of these is used:
%s.

` + "```json" + `
{
  "apps": [
    {"name": "web", "script": "server.js", "env": {"PORT": 3000}, "env_production": {"PORT": 80}},
    {"name": "worker", "script": "worker.py", "max_memory_restart": "300M"}
  ]
}
` + "```" + `

At the top stands ` + "`apps`" + ` (or ` + "`pm2`" + `, as in package.json), a list of apps, or one app. Names that begin with ` + "`x-`" + ` are
free for your own use; ` + "`$schema`" + ` may name the schema that ` + "`gopm schema`" + ` prints. An unknown name is an error that says which
one was probably meant, and all mistakes of a file are told at once, with their lines.

- Every name has a camelCase form, too (` + "`maxMemoryRestart`" + `). ` + "`null`" + ` is the same as leaving a field out.
- A relative path counts from the app's ` + "`cwd`" + `, and a relative ` + "`cwd`" + ` from the file's folder. ` + "`~/`" + ` is the home folder.
- Durations are milliseconds (` + "`3000`" + `) or texts (` + "`\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`" + `). Sizes are bytes or ` + "`\"200K\"`, `\"300M\"`, `\"1G\"`" + `,
  powers of 1024.
- ` + "`env_<name>`" + ` is laid over ` + "`env`" + ` by ` + "`--env <name>`" + `.
- Schedules are cron's five fields (minute, hour, day, month, weekday), or six with the seconds first, or ` + "`@hourly`, `@daily`,\n  `@weekly`, `@monthly`, `@yearly`, `@every 90m`" + `, in the daemon's local time, or in the zone that is named before it:
  ` + "`CRON_TZ=Europe/Berlin 30 2 * * *`" + `. On the days when clocks are changed, what is due at some hours is due once: a time
  that is skipped in spring when the clocks have been changed, one that comes twice in autumn the first time. What is due
  in every hour goes on as if nothing were changed.
- Most fields are options of ` + "`gopm start` and `gopm restart`" + `, too.

A Procfile has lines ` + "`name: command`" + `. As with foreman each command is run by a shell in the file's folder, the file ` + "`.env`" + `
beside it is read, and PORT is 5000 for the first line, 5100 for the second and so on; a PORT in ` + "`.env`" + ` or in your shell takes the
place of 5000.
`

const referenceTail = `
## More about what it may do, and use

What each of these is good for, and what it needs, is told in [lifecycle.md](lifecycle.md#what-a-program-may-do-and-use). A change of them restarts the app.

**rlimits** is an object of the kernel's limits of a process: ` + "`as`, `core`, `cpu`, `data`, `fsize`, `locks`, `memlock`, `msgqueue`, `nice`, `nofile`, `nproc`, `rss`,\n`rtprio`, `rttime`, `sigpending`, `stack`" + `; systemd's names (` + "`LimitNOFILE`" + `) are taken, too. A number is both limits, ` + "`\"1024:65536\"`" + ` is the one that counts (soft)
and the one up to which the program may raise it (hard); ` + "`\"unlimited\"`" + ` is none. Where it is bytes, a text like ` + "`\"64M\"`" + ` is taken.

**limits** are what an instance may use with everything that it starts.

| part | default | meaning |
|---|---|---|
| ` + "`cpu`" + ` | no limit | processors: ` + "`0.5`, `2`, or `\"50%%\"`" + ` of one |
| ` + "`memory`" + ` | no limit | bytes; above it the kernel ends processes of the instance |
| ` + "`pids`" + ` | no limit | processes and threads; no more can be started |
| ` + "`required`" + ` | false | an app that can't be limited isn't started; else it is told, and runs without |

## More about cluster mode

An app is in cluster mode with ` + "`exec_mode: \"cluster\"`" + `, also with one instance (its reloads have no gap then), or with several instances
and no ` + "`exec_mode`" + `. In fork mode the fields that need it are told with a warning. A change of ` + "`instances`" + ` or ` + "`spares`" + ` starts and stops
only as many as it takes, and a change of ` + "`balance`, `hold_timeout`, `hang_timeout`, `standby`, `reload`, `listen_timeout`" + ` or ` + "`drain`" + `
restarts nothing at all.

A port below 1024 is opened for a program without the right to it only if the app names it, in ` + "`cluster_ports`, `port`, PORT or `listen`" + `.

**Ports of their own**: ` + "`\"port\": 3000, \"port_step\": 1`" + ` gives instance 0 the PORT 3000, instance 1 the PORT 3001 and so on, for a balancer of
your own. ` + "`increment_var`" + ` does the same to any variable by 1; both go by the value in ` + "`env`" + `.

**listen** opens sockets as systemd's socket units do: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES tell the program, which finds them from
descriptor 3 on.

| written | socket |
|---|---|
| ` + "`\":3000\"`, `\"3000\"`, `3000`" + ` | all addresses, IPv4 and IPv6 |
| ` + "`\"tcp://0.0.0.0:3000\"`, `\"127.0.0.1:3000\"`" + ` | IPv4 |
| ` + "`\"tcp://[::]:3000\"`, `\"[::1]:3000\"`" + ` | IPv6 alone |
| ` + "`\"unix:/run/app.sock\"`, `\"unix:app.sock\"`, `\"unix:@app\"`" + ` | a file, one relative to ` + "`cwd`" + `, an abstract name |
| ` + "`{\"address\": \":3000\", \"name\": \"http\"}`" + ` | any of them with a name |

**drain** is an object, or its mode alone; ` + "`false`" + ` is ` + "`\"off\"`" + `.

| part | default | meaning |
|---|---|---|
| ` + "`mode`" + ` | outside | ` + "`outside`" + `: gopm ends the connections, and tells the program to end when they are gone; ` + "`signal`" + `: the program is told at once and ends them itself; ` + "`off`" + `: nobody waits. With ` + "`wait_ready`" + ` the default is ` + "`signal`" + ` |
| ` + "`timeout`" + ` | 10s | the most that it may take |
| ` + "`idle`" + ` | 2s | ` + "`outside`" + `: silence after which a connection that is kept open is closed; longer than the longest pause within a response |

**reload** has ` + "`surge`" + ` (1), ` + "`unavailable`" + ` (0) and ` + "`canary`" + ` (false; true is 10s). With ` + "`\"surge\": 0, \"unavailable\": 1`" + ` there are never
more processes than instances, and for the time of a start there is one less.

**standby** is for programs that must be told that they are active, because only one may be (with ` + "`spares`" + `, or several instances). ` + "`promote` and `demote`" + ` are each a
request, ` + "`{\"http\": {\"url\": \"http://127.0.0.1:{port}/on\", \"method\": \"POST\", \"body\": {\"state\": \"start\"}, \"headers\": {}}, \"timeout\": \"5s\"}`" + `, or
a command, ` + "`{\"exec\": \"./promote\"}`" + `. ` + "`{port}`, `{index}` and `{pid}`" + ` are
the instance's; a body that is an object is sent as JSON. See [cluster.md](cluster.md#spares-and-standby).

## More about the time between start and stop

What each of these does is told in [lifecycle.md](lifecycle.md). A change of these fields restarts nothing, but for ` + "`stdin`, `shutdown_with_message`" + ` and
` + "`ready: \"message\"`" + `: what they need a process has from its start.

**ready** is what makes an instance online. By ` + "`ready_timeout`" + ` it has to be; ` + "`listen_timeout`" + ` bounds only a reload.

| written | ready when |
|---|---|
| ` + "`\"uptime\"`" + ` | it has lived for ` + "`min_uptime`" + `: the default where none of the following is |
| ` + "`\"port\"`" + ` | it listens: in cluster mode on all ports that are named (` + "`cluster_ports`" + `), or on any, else on PORT. The default in cluster mode with a port that is named (` + "`port`" + `, PORT, ` + "`cluster_ports`" + `) |
| ` + "`3000`, `{\"port\": 3000}`" + ` | it listens on this port |
| ` + "`\"health\"`" + ` | its first health check has passed: the default with one |
| ` + "`\"message\"`" + `, or ` + "`wait_ready: true`" + ` | node has called ` + "`process.send('ready')`" + `, or any program has sent ` + "`READY=1`" + ` (sd_notify) |
| ` + "`{\"log\": \"listening on [0-9]+\"}`" + ` | a line of its output matches this regular expression ([syntax](https://github.com/google/re2/wiki/Syntax)) |

**health** is an object with one of ` + "`http`, `tcp` and `exec`" + ` (or ` + "`watchdog`" + ` alone), or that check alone: ` + "`\"http://127.0.0.1:3000/health\"`, `5432`" + ` (a port),
` + "`\"pg_isready -q\"`" + ` (any other text is a command); ` + "`false`" + ` is none.

| part | default | meaning |
|---|---|---|
| ` + "`http`" + ` | | a URL, or ` + "`{\"url\": \"http://127.0.0.1:{port}/health\", \"method\": \"GET\", \"headers\": {}, \"body\": \"\"}`" + `; an answer below 400 is good. ` + "`{port}`" + ` is the instance's port |
| ` + "`tcp`" + ` | | a port of this machine, or an address like ` + "`\"127.0.0.1:{port}\"`" + `: can it be connected to |
| ` + "`exec`" + ` | | a command for a shell, in the app's folder: is its exit code 0 |
| ` + "`interval`" + ` | 10s | from the begin of one check to that of the next |
| ` + "`timeout`" + ` | 3s | the most that one may take |
| ` + "`retries`" + ` | 3 | failures in a row that make an instance unhealthy |
| ` + "`start_period`" + ` | 0 | failures so soon after the start don't count |
| ` + "`on_fail`" + ` | mark | ` + "`mark`" + `: it is shown as unhealthy, and avoided in cluster mode; ` + "`restart`" + `: it is restarted, one instance at a time |
| ` + "`watchdog`" + ` | 0, none | ` + "`WATCHDOG=1`" + ` (sd_notify) has to come at least so often |

**depends_on** is a name, a list of names (` + "`ready`" + `), or an object that says for each app what it has to be: ` + "`started`" + ` (its process runs), ` + "`ready`" + `
(online), ` + "`healthy`" + ` (and its checks pass) or ` + "`completed`" + ` (it has ended with code 0 or one of its ` + "`stop_exit_codes`" + `; it needs ` + "`autorestart: false`" + `).

**pre_start**, **post_start**, **pre_stop** and **on_errored** are a command, or ` + "`{\"exec\": \"./announce\", \"timeout\": \"5s\"}`" + `. A shell runs it in the app's folder, as
its user, with its variables.

**schedule** is when the job runs, or ` + "`{\"at\": \"0 3 * * *\", \"overlap\": \"skip\", \"timeout\": \"10m\"}`" + `. A run that is due while the one before still runs is left out
(` + "`skip`" + `, the default), done after it (` + "`queue`" + `, at most one waits), or takes its place (` + "`kill`" + `). Without a ` + "`timeout`" + ` it may run for ever. A job is one process
in fork mode, is not started again when it ends, and has no ` + "`cron_restart`" + `.

**watch** is ` + "`true`" + ` (the app's folder), a file or folder, a list of them, or an object; patterns can't be watched, only ignored.

| part | default | meaning |
|---|---|---|
| ` + "`paths`" + ` | cwd | files and folders |
| ` + "`ignore`" + ` | | what is ignored besides dotfiles, ` + "`node_modules`" + ` and the app's logs, as in .gitignore in the app's folder: ` + "`*.tmp`" + ` anywhere, ` + "`/uploads`" + ` there, ` + "`!keep.tmp`" + ` not. ` + "`ignore_watch`" + ` says more of them |
| ` + "`gitignore`" + ` | false | what the .gitignore files say is ignored, too |
| ` + "`delay`" + ` | 200ms | as ` + "`watch_delay`" + ` |
| ` + "`poll`" + ` | false | look so often (` + "`true`" + `: 1s) instead of being told by the kernel: for folders of other machines |
| ` + "`follow_links`" + ` | false | folders behind symbolic links, too |

## More about other machines

What these do is told in [consul.md](consul.md). A change of ` + "`consul`" + ` restarts nothing, but for its ` + "`env` and `files`" + `; a change of ` + "`singleton`" + ` restarts the app.

**consul** is ` + "`true`" + `, ` + "`false`" + ` or an object. At the file's top, beside ` + "`apps`" + `, it is the default of all apps: what an app says itself wins part by part, and
` + "`\"consul\": false`" + ` in an app leaves it out. A relative path in ` + "`agent`" + ` counts from the app's ` + "`cwd`" + `, at the file's top from the file's folder.

| part | default | meaning |
|---|---|---|
| ` + "`agent`" + ` | CONSUL_HTTP_ADDR and the like, else 127.0.0.1:8500 | where Consul's agent is: ` + "`\"127.0.0.1:8500\"`, `\"https://consul:8501\"`, `\"unix:///run/consul.sock\"`" + `, or an object with ` + "`address`, `token` or `token_file`, `datacenter`, `namespace`, `partition`, `ca_file`, `ca_path`, `cert_file`, `key_file`, `server_name`, `insecure`" + ` |
| ` + "`service`" + ` | the app's name, with dashes for what a name in DNS can't have | the name under which each instance is registered; ` + "`false`" + `: none is |
| ` + "`tags`" + ` | | ` + "`{instance}`" + ` in one stands for the instance's number |
| ` + "`meta`" + ` | | an object of texts |
| ` + "`address`" + ` | the agent's | |
| ` + "`port`" + ` | what the instance is seen to listen on | |
| ` + "`checks`" + ` | | what Consul checks besides what gopm tells it: a list of URLs, ports or objects: ` + "`http`, `tcp` or `grpc`, `interval` (10s), `timeout` (3s), `name`, `method`, `headers`, `body`, `tls_skip_verify`, `grpc_use_tls`. `{port}`" + ` is the instance's port |
| ` + "`weights`" + ` | 1 and 1 | ` + "`{\"passing\": 10, \"warning\": 1}`" + ` |
| ` + "`deregister_after`" + ` | 10m | Consul forgets an instance that is critical for so long; at least 1m |
| ` + "`deregister_delay`" + ` | 0 | time between telling balancers that an instance goes and its stop |
| ` + "`env`" + ` | | a key's name: variables from the keys below it, or from its value, JSON or lines ` + "`A=b`" + ` |
| ` + "`files`" + ` | | paths and the keys whose values these files hold: ` + "`{\"config.json\": \"apps/web/config\"}`" + `, or ` + "`{\"key\": …, \"mode\": \"0640\", \"owner\": …, \"group\": …}`" + ` for a key; without ` + "`mode`" + ` 0600 |
| ` + "`on_change`" + ` | reload | ` + "`reload`, `restart`, `nothing`" + ` or a signal, when a value of ` + "`env` or `files`" + ` has changed |
| ` + "`debounce`" + ` | 500ms | how long nothing may change any more before that |
| ` + "`allow`" + ` | | variables that ` + "`env`" + ` may set though they can run a program, like PATH |
| ` + "`fleet`" + ` | false | machines take turns when values change, and at ` + "`gopm fleet reload`" + ` |

**singleton** is the key that is locked, or an object.

| part | default | meaning |
|---|---|---|
| ` + "`lock`" + ` | | the key |
| ` + "`mode`" + ` | ` + "`hot`" + ` with ` + "`standby.promote` or `spares`, else `cold`" + ` | what instances do that are not active: ` + "`cold`" + `: they aren't started; ` + "`hot`" + `: they are booted and held (in cluster mode, or by ` + "`standby`" + `); ` + "`role`" + `: they run, and are told |
| ` + "`on_lost`" + ` | stop | when the lock can't be held any more: ` + "`stop`" + `: the process is killed before another may hold it; ` + "`keep`" + `: it goes on, and two may be active |
| ` + "`ttl`" + ` | 10s | Consul gives the lock of a dead machine away between this time and twice that; 10s to 24h |
| ` + "`signal`" + ` | none | to a process whose role has changed |

## Without an effect

Accepted with a note, so that pm2's files work as they are:

| field | why |
|---|---|
%s`

func referenceText() string {
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, code(usualNames()))
	var none []string
	for i := range table {
		f := &table[i]
		switch f.stage {
		case stageFixed, stageNode:
			none = append(none, fmt.Sprintf("| %s | %s |\n", code([]string{f.name}), f.doc))
		case stageNow:
			if f.group != "" {
				b.WriteString("\n## " + f.group + "\n\n| field | value | default | meaning | example | option |\n|---|---|---|---|---|---|\n")
			}
			b.WriteString(f.row())
		}
	}
	fmt.Fprintf(&b, referenceTail, strings.Join(none, ""))
	return b.String()
}

// row is a field in the reference; camelCase forms are not worth their space.
func (f *field) row() string {
	name := code([]string{f.name})
	if len(f.aliases) > 0 {
		name += "<br>also " + code(f.aliases)
	}
	var options []string
	for _, o := range f.flags {
		option := "--" + o.name
		if o.short != "" {
			option = "-" + o.short + ", " + option
		}
		options = append(options, option)
	}
	plain := strings.NewReplacer("<", "&lt;", "|", `\|`).Replace
	return fmt.Sprintf("| %s | %s | %s | %s | `%s` | %s |\n",
		name, f.kind, plain(f.def), plain(f.doc), strings.ReplaceAll(f.example, "|", `\|`), code(options))
}

// code lists words as code.
func code(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "`" + strings.Join(slices.Clone(words), "`, `") + "`"
}
