package cmd_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The container tests run real images with podman and runc (tools/parts unpacks them), in a store of their own
// that is made once per test process and removed at its end: nothing of a user's podman is touched.
//
//	p := newPodman(t)                                  // parallel, like newGopm; root only; never skipped by root
//	p.file("eco.json", `{…}`)                          // every container sees the test's folder at /work, read-only
//	image := p.image("FROM "+p.node()+"\nCMD […]", nil) // a Dockerfile, with files for its COPY; built once per text
//	b := p.box(image, options, argv...)                // podman run -d, in the network of the test; removed at the end
//	b.inside().run("ls")                               // podman exec b gopm ls, with all helpers of the system tests
//	b.exec("/usr/bin/node", "-v")                      // any program in it
//	out, err := b.logs()                               // of PID 1, apart
//	b.signal("SIGTERM"); code := b.wait()              // or took := b.stop(grace), as docker stop
//
// Options are those of podman run: p.docker() is Docker's own seccomp profile instead of podman's, unprivileged is
// uid 1000 without any capability; "--read-only", "--tmpfs=/tmp:size=1m", "--memory=100m", "--init", "-e", "A=b", …
// p.bare() is FROM scratch with nothing but /usr/bin/gopm, /usr/bin/web (testdata/web) and /tmp; p.node() has the
// machine's node and its libraries, too, p.with("sh", "sleep") other programs of it. A container ends by itself after ten minutes, also when its test is killed, and
// the next test process removes what that has left.

// unprivileged are the options for a user without any capability.
var unprivileged = []string{"--user=1000:1000", "--cap-drop=ALL"}

// engine is podman with its store.
type engine struct {
	binary    string
	parts     string // of Debian's packages; "": the system's podman
	dir       string
	libraries string   // where those that its programs need are
	used      *os.File // locked
}

func (e *engine) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir + "/home", "LD_LIBRARY_PATH=" + e.libraries,
		"CONTAINERS_CONF=" + e.dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + e.dir + "/storage.conf"}
}

// The limits are for machines whose root has no CAP_SYS_RESOURCE; podman would raise them. With the network of the host
// no plugins are needed, and the load reaches what runs inside.
const containersConf = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
cgroups = "enabled"
netns = "host"
log_driver = "k8s-file"
%[3]s
[network]
network_config_dir = "%[1]s/net"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
%[2]s`

const unpackedConf = `conmon_path = ["%[1]s/usr/bin/conmon"]
init_path = "%[1]s/usr/libexec/podman/catatonit"
[engine.runtimes]
runc = ["%[1]s/usr/sbin/runc"]
`

const storageConf = `[storage]
driver = "overlay"
graphroot = "%[1]s/root"
runroot = "%[1]s/run"
`

// setUpEngine makes the store, in the toolbox.
func setUpEngine(parts string) (*engine, error) {
	e := &engine{dir: filepath.Join(toolbox, "podman"), parts: filepath.Join(parts, "podman-unpacked")}
	e.binary = filepath.Join(e.parts, "usr/bin/podman")
	var inEngine, inContainers, libraries string
	if _, err := os.Stat(e.binary); err == nil {
		found, _ := filepath.Glob(e.parts + "/usr/lib/*-linux-gnu*") // the pattern is good
		libraries = strings.Join(found, ":")
		inEngine = fmt.Sprintf(unpackedConf, e.parts)
		inContainers = fmt.Sprintf("seccomp_profile = %q", e.parts+"/usr/share/containers/seccomp.json")
	} else if e.binary, err = exec.LookPath("podman"); err != nil {
		return nil, fmt.Errorf("no podman: run tools/parts test (%w)", err)
	}
	policies := filepath.Join(e.dir, "home/.config/containers")
	if err := os.MkdirAll(policies, 0o755); err != nil {
		return nil, err
	}
	for path, text := range map[string]string{
		e.dir + "/containers.conf": fmt.Sprintf(containersConf, e.dir, inEngine, inContainers),
		e.dir + "/storage.conf":    fmt.Sprintf(storageConf, e.dir),
		policies + "/policy.json":  `{"default": [{"type": "insecureAcceptAnything"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	e.libraries = libraries
	if err := e.claim(); err != nil {
		return nil, err
	}
	e.sweep()
	return e, nil
}

const claimFile = "/used"

// claim locks the store as long as this process lives.
func (e *engine) claim() (err error) {
	e.used, err = os.OpenFile(e.dir+claimFile, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err == nil {
		err = syscall.Flock(int(e.used.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	return err
}

// sweep removes the stores of tests that were killed, as far as it can.
func (e *engine) sweep() {
	claims, _ := filepath.Glob(filepath.Join(filepath.Dir(toolbox), toolboxName+"*", "podman"+claimFile))
	for _, path := range claims {
		old := &engine{binary: e.binary, dir: filepath.Dir(path), libraries: e.libraries}
		if old.dir == e.dir || old.claim() != nil {
			continue
		}
		if old.command("rm", "-fa", "-t=0").Run() == nil {
			os.RemoveAll(filepath.Dir(old.dir))
		}
		old.used.Close()
	}
}

// command prepares a podman command. A container's monitor leaves a note where it was started, when memory has run out.
func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(e.binary, append([]string{"--tmpdir", e.dir + "/tmp"}, args...)...)
	cmd.Env, cmd.Dir = e.env(), e.dir
	return cmd
}

// podman is a test with its containers.
type podman struct {
	*gopm  // the test's folder, and what waits and looks; its own home stays empty
	engine *engine
}

var theEngine struct {
	sync.Once
	e   *engine
	err error
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	g := newGopm(t)
	if os.Geteuid() != 0 {
		t.Skip("only root's podman needs nothing else")
	}
	theEngine.Do(func() { theEngine.e, theEngine.err = setUpEngine(g.parts()) })
	must(t, theEngine.err)
	return &podman{g, theEngine.e}
}

// sub is the same in a subtest.
func (p *podman) sub(t *testing.T) *podman {
	g := *p.gopm
	g.T = t
	return &podman{&g, p.engine}
}

// do runs a command of podman that has to succeed, and returns its output.
func (p *podman) do(args ...string) string {
	p.Helper()
	r := p.execute(p.engine.command(args...))
	if r.code != 0 {
		p.Fatalf("podman %s: %v", strings.Join(args, " "), r)
	}
	return strings.TrimSpace(r.out)
}

// docker is the option for Docker's own seccomp profile.
func (p *podman) docker() string {
	p.Helper()
	found, _ := filepath.Glob(filepath.Join(p.parts(), "docker-seccomp-*", "default.json"))
	if len(found) == 0 {
		p.Fatal("Docker's profile isn't there: run tools/parts test")
	}
	return "--security-opt=seccomp=" + found[0]
}

// ---- images

// bare has nothing but gopm, the test server and a /tmp for everybody.
func (p *podman) bare() string {
	p.Helper()
	web, err := buildWeb()
	must(p.T, err)
	return p.built("FROM scratch\nCOPY . /\n", func(dir string) {
		place(p.T, p.binary, dir+"/usr/bin/gopm")
		place(p.T, web, dir+"/usr/bin/web")
		must(p.T, os.Mkdir(dir+"/tmp", 0o777))
		must(p.T, os.Chmod(dir+"/tmp", 0o777|os.ModeSticky))
	})
}

// node has the machine's node, too.
func (p *podman) node() string { return p.with("node") }

// with has some of the machine's programs, too, and the libraries that they need.
func (p *podman) with(programs ...string) string {
	p.Helper()
	return p.built(fmt.Sprintf("FROM %s\nCOPY . /\n# %q\n", p.bare(), programs), func(dir string) {
		must(p.T, os.Symlink("usr/bin", dir+"/bin"))
		for _, name := range programs {
			program, err := exec.LookPath(name)
			must(p.T, err)
			needs, err := exec.Command("ldd", program).Output()
			must(p.T, err)
			for _, word := range strings.Fields(string(needs)) {
				if strings.HasPrefix(word, "/") {
					place(p.T, word, dir+word)
				}
			}
			place(p.T, program, dir+"/usr/bin/"+name)
		}
	})
}

// image is what a Dockerfile describes; files are there for its COPY.
func (p *podman) image(dockerfile string, files map[string]string) string {
	p.Helper()
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&key, "%q %q\n", name, files[name])
	}
	return p.built(dockerfile+"\n# "+fmt.Sprintf("%x\n", sha256.Sum256([]byte(key.String()))), func(dir string) {
		for name, text := range files {
			path := filepath.Join(dir, name)
			must(p.T, os.MkdirAll(filepath.Dir(path), 0o755))
			must(p.T, os.WriteFile(path, []byte(text), 0o755))
		}
	})
}

// images are built once; who comes second waits for the first.
var images sync.Map // the Dockerfile's text -> *sync.Mutex, locked while it is built

func (p *podman) built(dockerfile string, fill func(dir string)) string {
	p.Helper()
	name := fmt.Sprintf("localhost/test-%.8x", sha256.Sum256([]byte(dockerfile)))
	mu, _ := images.LoadOrStore(name, &sync.Mutex{})
	mu.(*sync.Mutex).Lock()
	defer mu.(*sync.Mutex).Unlock()
	if p.execute(p.engine.command("image", "exists", name)).code == 0 {
		return name
	}
	context, err := os.MkdirTemp(p.engine.dir, "build")
	must(p.T, err)
	defer os.RemoveAll(context)
	must(p.T, os.Mkdir(context+"/root", 0o755))
	fill(context + "/root")
	must(p.T, os.WriteFile(context+"/Dockerfile", []byte(dockerfile), 0o644))
	p.do("build", "-q", "-t", name, "-f", context+"/Dockerfile", context+"/root")
	return name
}

// place copies a program to where an image is to have it, unless it is there: two programs may need the same library. It
// is never a link, through which the machine's own file could be written.
func place(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(to), 0o755))
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return
	}
	must(t, err)
	defer out.Close()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	_, err = io.Copy(out, in)
	must(t, err)
}

// ---- containers

// box is one container.
type box struct {
	*podman
	id      string
	pid     int  // of its PID 1, here
	stopped bool // by podman stop, which waits for the end
}

// box runs one in the background, for ten minutes at most.
func (p *podman) box(image string, options []string, argv ...string) *box {
	p.Helper()
	args := append([]string{"run", "-d", "--timeout=600", "-v=" + p.dir + ":/work:ro"}, options...)
	b := &box{podman: p, id: p.do(append(append(args, image), argv...)...)}
	p.Cleanup(b.remove)
	b.look()
	return b
}

// look finds its PID 1.
func (b *box) look() {
	b.Helper()
	_, err := fmt.Sscan(b.inspect("{{.State.Pid}}"), &b.pid)
	must(b.T, err)
}

// again has it run once more: podman start or restart.
func (b *box) again(args ...string) {
	b.Helper()
	b.do(append(args, b.id)...)
	b.stopped = false
	b.look()
}

func (b *box) remove() {
	b.Helper()
	if b.Failed() {
		out, err := b.logs()
		b.Logf("container %.12s said:\n%s\nand on stderr:\n%s", b.id, b.tail(out, 40), b.tail(err, 60))
	}
	b.do("rm", "-f", "-t=0", b.id)
}

// inside is gopm in it, by podman exec: its commands and whatever is made of them. What looks at processes or
// files here (belongingTo, log, account) sees nothing.
func (b *box) inside() *gopm {
	g := *b.podman.gopm
	g.within = append(b.engine.command("exec").Args, b.id)
	g.binary, g.env = "/usr/bin/gopm", b.engine.env()
	return &g
}

// exec runs a program in it.
func (b *box) exec(argv ...string) result {
	b.Helper()
	return b.execute(b.engine.command(append([]string{"exec", b.id}, argv...)...))
}

// logs is what PID 1 and who shares its descriptors have written.
func (b *box) logs() (stdout, stderr string) {
	b.Helper()
	var out, errOut bytes.Buffer
	cmd := b.engine.command("logs", b.id)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	must(b.T, cmd.Run())
	return out.String(), errOut.String()
}

// signal sends one to PID 1.
func (b *box) signal(name string) {
	b.Helper()
	b.do("kill", "-s", name, b.id)
}

// stop is docker stop: SIGTERM, and SIGKILL after the grace. It is how long that took.
func (b *box) stop(grace time.Duration) time.Duration {
	b.Helper()
	began := time.Now()
	b.do("stop", fmt.Sprintf("-t=%d", int(grace.Seconds())), b.id)
	b.stopped = true
	return time.Since(began)
}

// wait waits for its end and is its exit code. Podman's own wait waits until the init process of the machine has reaped
// its monitor, which takes some of them 20 seconds; the monitor's note is there at once, but goes with podman's stop.
func (b *box) wait() (code int) {
	b.Helper()
	if b.stopped {
		_, err := fmt.Sscan(b.inspect("{{.State.ExitCode}}"), &code)
		must(b.T, err)
		return code
	}
	eventually(b.T, 3*soon, func() error {
		text, err := os.ReadFile(filepath.Join(b.engine.dir, "tmp/exits", b.id))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("container %.12s still runs", b.id)
		}
		if err == nil {
			code, err = strconv.Atoi(string(text))
		}
		return err
	})
	return code
}

// inspect is what podman says of it, by a template.
func (b *box) inspect(template string) string {
	b.Helper()
	return b.do("inspect", "--format", template, b.id)
}

// kill sends a signal to a process of the container, by the pid that it has inside.
func (b *box) kill(inside int, sig syscall.Signal) {
	b.Helper()
	pid := b.outside(inside)
	if pid == 0 {
		b.Fatalf("no process %d in the container", inside)
	}
	must(b.T, syscall.Kill(pid, sig))
}

// outside is the pid here of a process of the container; 0: it has none of that number.
func (b *box) outside(inside int) int {
	b.Helper()
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.pid))
	must(b.T, err)
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		_, ids, _ := strings.Cut(string(text), "NSpid:")
		ids, _, _ = strings.Cut(ids, "\n")
		fields := strings.Fields(ids)
		if len(fields) < 2 || fields[len(fields)-1] != fmt.Sprint(inside) {
			continue
		}
		dir := filepath.Dir(path)
		if its, err := os.Readlink(dir + "/ns/pid"); err == nil && its == namespace {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}

// TestContainersOfTheTests: what the other container tests stand on.
func TestContainersOfTheTests(t *testing.T) {
	p := newPodman(t)
	for name, options := range map[string][]string{
		"root":                      nil,
		"a user without privileges": append(unprivileged, "--read-only", "--security-opt=no-new-privileges", p.docker()),
	} {
		t.Run(name, func(t *testing.T) {
			p := p.sub(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			b := p.box(p.bare(), options, "web", "-graceful", target)
			if pid := answering(t, target); pid != "1" {
				t.Errorf("answered by pid %s, not by 1", pid)
			}
			if r := b.exec("/usr/bin/gopm", "version"); r.code != 0 || r.out != "v0.0.0-test\n" {
				t.Error(r)
			}
			if pid := b.outside(1); pid != b.pid {
				t.Errorf("its PID 1 is %d here, not %d", pid, b.pid)
			}
			out, err := b.logs()
			if out != "listening on "+target+"\n" || err != "" {
				t.Errorf("logs: %q, %q", out, err)
			}
			b.signal("SIGTERM")
			if code := b.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
	b := p.box(p.image("FROM "+p.node()+"\nCOPY app.js /\nCMD [\"node\", \"/app.js\"]", map[string]string{"app.js": `
		console.error("on stderr"); process.exit(process.pid + 41)`}), nil)
	if code := b.wait(); code != 42 {
		t.Errorf("exit code %d", code)
	}
	if out, err := b.logs(); out != "" || err != "on stderr\n" {
		t.Errorf("logs: %q, %q", out, err)
	}
}
