package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
)

// HelloWord is the command by which a binary says that it can go on where another
// release stops: "gopm VERSION keeper N state N" with the formats that it knows.
const HelloWord = "hello"

// Hello is the answer of this binary.
func Hello(version string) string {
	return fmt.Sprintf("gopm %s keeper %s state %d\n", version, keeper.Protocol, api.StateFormat)
}

const helloWait = 5 * time.Second

// replaceBinary hands over to the binary that is now where this daemon was started from. It
// answers as soon as that binary has shown that it can; what comes of it is seen by
// asking the next daemon.
func (d *Daemon) replaceBinary(r *http.Request) (any, error) {
	link := d.trust.link.Load()
	if link == nil {
		return nil, api.Errorf(api.KindConflict, "this daemon has no keeper: it cannot be replaced")
	}
	end, err := d.begin(r.Context()) // no change under way is cut in two
	if err != nil {
		return nil, err
	}
	defer end()
	if r := d.rolls.any(); r != nil {
		return nil, api.Errorf(api.KindBusy, "cannot update: a %s of %s is under way; ask again when it is done", r.what, r.name)
	}
	if err := d.cfg.Home.Prepare(); err != nil { // the next daemon would refuse to begin
		return nil, fmt.Errorf("cannot update: %v; daemon %s goes on", err, d.cfg.Version)
	}
	binary, err := os.Open(d.cfg.Binary)
	if err != nil {
		return nil, fmt.Errorf("cannot update: %v; daemon %s goes on", err, d.cfg.Version)
	}
	version, err := ask(r.Context(), binary)
	if err != nil {
		binary.Close()
		d.tellOfDaemon("update refused: %s: %v", d.cfg.Binary, err)
		return nil, fmt.Errorf("cannot update: %s: %v; daemon %s goes on", d.cfg.Binary, err, d.cfg.Version)
	}
	if !link.Answers() { // nobody would start the next daemon
		binary.Close()
		select {
		case <-link.Lost():
			return nil, api.Errorf(api.KindAgain, "the keeper has just died, and the daemon starts another: ask again")
		default:
		}
		d.tellOfDaemon("update refused: the keeper does not answer")
		return nil, fmt.Errorf("cannot update: the keeper (pid %d) does not answer; if it was stopped: kill -CONT %d; if it hangs, kill -9 %d has the daemon start another, and the apps run on", link.Pid(), link.Pid(), link.Pid())
	}
	d.tellOfDaemon("update: %s is gopm %s; handing over", d.cfg.Binary, version)
	d.ending.binary = binary
	d.end(handedOver)
	return api.Update{Pid: os.Getpid(), Version: version, Binary: d.cfg.Binary}, nil
}

// ask has a binary say which formats it knows.
func ask(ctx context.Context, binary *os.File) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	var head [4]byte
	if _, err := binary.ReadAt(head[:], 0); err != nil || string(head[:]) != "\x7fELF" {
		return "", errors.New("it is not a program (for this machine)")
	}
	own := fmt.Sprintf("/proc/self/fd/%d", binary.Fd()) // the file that will run, whatever is at its path by then
	var answer, complaint reply
	c := exec.CommandContext(ctx, own, HelloWord)
	c.Env, c.Dir, c.Stdout, c.Stderr, c.WaitDelay = []string{}, "/", &answer, &complaint, time.Second
	err = c.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("it does not answer within %v", helloWait)
	}
	if err != nil {
		if text := strings.TrimSpace(complaint.text.String()); text != "" {
			line, _, _ := strings.Cut(text, "\n")
			err = fmt.Errorf("%v: %s", err, line)
		}
		return "", fmt.Errorf("it does not answer as a gopm: %s", strings.ReplaceAll(err.Error(), own, binary.Name()))
	}
	return understand(answer.text.String())
}

// reply is what a program says, if it doesn't say too much.
type reply struct{ text strings.Builder }

func (r *reply) Write(p []byte) (int, error) {
	const enough = 4 << 10
	if r.text.Len()+len(p) > enough {
		return 0, errors.New("it says too much")
	}
	return r.text.Write(p)
}

// understand reads the answer to HelloWord.
func understand(answer string) (version string, err error) {
	words := strings.Fields(answer)
	if len(words) < 6 || words[0] != "gopm" || words[2] != "keeper" || words[4] != "state" {
		return "", errors.New("it is not a gopm that can take over from another")
	}
	for i, have := range map[int]string{3: keeper.Protocol, 5: strconv.Itoa(api.StateFormat)} {
		own, _ := strconv.Atoi(have)
		if its, err := strconv.Atoi(words[i]); err != nil || its < own {
			return "", fmt.Errorf("gopm %s does not know the %s format %d of this daemon", words[1], words[i-1], own)
		}
	}
	return words[1], nil
}
