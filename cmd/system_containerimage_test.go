package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goBase stands in for the image of Go, which can't be fetched here: it has a shell and cat.
// Go and its caches are mounted while an image is built.
func (p *podman) goBase() (image string, mounts []string) {
	p.Helper()
	out, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	must(p.T, err)
	paths := strings.Fields(string(out))
	mounts = []string{"-v=" + paths[0] + ":/usr/local/go:ro", "-v=" + paths[1] + ":/go/pkg/mod", "-v=" + paths[2] + ":/cache"}
	image = p.built("FROM "+p.bare()+"\nCOPY . /\nENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOCACHE=/cache GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-buildvcs=false\n", func(dir string) {
		for _, name := range []string{"sh", "cat"} {
			program, err := exec.LookPath(name)
			must(p.T, err)
			place(p.T, program, dir+"/bin/"+name)
			needs, _ := exec.Command("ldd", program).Output() // an error: it is static
			for _, word := range strings.Fields(string(needs)) {
				if strings.HasPrefix(word, "/") {
					place(p.T, word, dir+word)
				}
			}
		}
	})
	return image, mounts
}

// TestImages builds the Dockerfile at the top and that of examples/docker as they are, with
// the machine's own Go and node in the place of the images that they name, and runs what
// comes of it as the example's page says.
func TestImages(t *testing.T) {
	p := newPodman(t)
	base, mounts := p.goBase()
	top, err := filepath.Abs("..")
	must(t, err)
	const gopmImage, appImage = "localhost/gopm-image", "localhost/app-image"
	p.do(append(append([]string{"build", "-q", "-t", gopmImage, "--network=host", "--build-arg=GO=" + base, "--build-arg=VERSION=v9.8.7"}, mounts...), top)...)
	if out := p.do("run", "--rm", gopmImage, "version"); out != "v9.8.7" {
		t.Errorf("version %q", out)
	}
	p.do("build", "-q", "--format=docker", "-t", appImage, "--build-arg=GOPM="+gopmImage, "--build-arg=NODE="+p.node(), filepath.Join(top, "examples", "docker"))
	port := freePort(t)
	b := p.box(appImage, []string{"--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "-e=PORT=" + fmt.Sprint(port)})
	g := b.inside()
	g.binary = "/usr/local/bin/gopm"
	answers := func() error {
		body, err := get(port)
		if err == nil && !strings.HasPrefix(body, "hello from pid ") {
			err = fmt.Errorf("answered %q", body)
		}
		return err
	}
	eventually(t, soon, answers)
	eventually(t, soon, func() error {
		if r := b.exec("gopm", "healthcheck"); r.code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	g.run("reload", "app")
	must(t, answers())
	b.signal("SIGTERM")
	if code := b.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if out, err := b.logs(); !strings.Contains(out, "GET /\n") || strings.Contains(out, "gopm") {
		t.Errorf("stdout %q, stderr %q", out, err)
	}
}

// TestImagesLeaveOutWhatTheyNeedNot: neither history nor binaries of this machine get into an image.
func TestImagesLeaveOutWhatTheyNeedNot(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../.dockerignore")
	must(t, err)
	for _, name := range []string{".git", "bin", "dist", "**/node_modules"} {
		if !strings.Contains("\n"+string(text), "\n"+name+"\n") {
			t.Errorf("%s gets into an image", name)
		}
	}
}
