package cmd

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What pm2's parser would understand, as a call of gopm; after "!" what means nothing here.
func TestCallsOfPM2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, call, want string }{
		{"pm2", "start app.js", "start app.js"},
		{"pm2", "start app.js -n web -i -1 -- -n x --watch", "start app.js --name=web --instances=-1 -- -n x --watch"},
		{"pm2", "-n web -s start app.js", "start --name=web --silent app.js"},
		{"pm2", "--name=web start app.js -i2", "start --name=web app.js --instances=2"},
		{"pm2", "start app.js --watch testdata", "start app.js --watch=testdata"},
		{"pm2", "start --watch app.js", "start --watch app.js"},
		{"pm2", "start app.js --watch --ignore-watch node_modules", "start app.js --watch --ignore-watch=node_modules"},
		{"pm2", "start testdata --watch testdata -i 2", "start testdata --watch=testdata --instances=2"},
		{"pm2", "start app.js --watch-delay 4", "start app.js --watch-delay=4s"},
		{"pm2", "start app.js --watch-delay 400ms", "start app.js --watch-delay=400ms"},
		{"pm2", "start app.js --stop-exit-codes 0 1 3 --time", "start app.js --stop-exit-codes=0,1,3 --time"},
		{"pm2", "start app.js -l --max-restarts -f", "start app.js --log=true --force ! --max-restarts"},
		{"pm2", "start app.js -l a.log --max-restarts 3", "start app.js --log=a.log --max-restarts=3"},
		{"pm2", "start app.js -x -w --attach --ext js --sort name:asc", "start app.js ! --execute-command --write --attach --ext --sort"},
		{"pm2", "start app.js -p app.pid -k 3000 -c @daily", "start app.js --pid=app.pid --kill-timeout=3000 --cron=@daily"},
		{"pm2", "start eco.config.js --only api,web --env production", "start eco.config.js --only=api,web --env=production"},
		{"pm2", "startOrReload eco.json --update-env", "startOrReload eco.json --update-env"},
		{"pm2", "stop web --watch -f", "stop web --watch ! --force"},
		{"pm2", "scale web +2", "scale web +2"},
		{"pm2", "logs web --lines 20 --err --nostream", "logs web --lines 20 --err --nostream"},
		{"pm2", "logs --timestamp HH:mm web", "logs --timestamp=HH:mm web"},
		{"pm2", "logs --json", "logs --json"},
		{"pm2", "ls -m --sort cpu:desc", "ls --mini-list --sort=cpu:desc"},
		{"pm2", "startup systemd -u ann --hp /home/ann", "startup systemd --user-name=ann --hp=/home/ann"},
		{"pm2", "startup --nonsense", "startup --nonsense"},
		{"pm2", "-v", "-v"},
		{"pm2", "--help", "--help"},
		{"pm2", "", ""},
		{"pm2", "start -", "start -"},
		{"pm2-runtime", "start -i 2 @nocobase/app/lib/index.js -- start", "runtime --instances=2 @nocobase/app/lib/index.js -- start"},
		{"pm2-runtime", "start -i max start", "runtime --instances=max start"},
		{"pm2-runtime", "app.js", "runtime app.js"},
		{"pm2-docker", "start eco.json --env docker --only web", "runtime eco.json --env=docker --only=web"},
		{"pm2-runtime", "eco.json --json --web 9615 --secret k --public p", "runtime eco.json --json ! --web --secret --public"},
		{"pm2-runtime", "eco.json --no-auto-exit --no-such-thing", "runtime eco.json --exit-on=never ! --no-such-thing"},
		{"pm2-runtime", "-v", "version"},
		{"pm2-runtime", "--help", "runtime --help"},
	} {
		said := &strings.Builder{}
		cli := &cli{out: io.Discard, err: said, calledAs: c.name}
		got := strings.Join(cli.understand(strings.Fields(c.call)), " ")
		if _, dropped, is := strings.Cut(said.String(), "note: no effect here: "); is {
			got += " ! " + strings.TrimSpace(dropped)
		}
		if got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.name, c.call, got, c.want)
		}
	}
}

// A unit for the boot, and an update, go by the program that a link of ours leads to; any other link is kept as it is.
func TestBehindShim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for link, target := range map[string]string{"pm2": dir + "/gopm", "pm2-docker": "../bin/gopm", "current": dir + "/gopm"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"pm2": dir + "/gopm", "pm2-docker": filepath.Dir(dir) + "/bin/gopm", "current": dir + "/current", "pm2-runtime": dir + "/pm2-runtime",
	} {
		if got := behindShim(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
