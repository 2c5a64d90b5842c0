package logs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const benchLines = 2_000_000

// flood starts the writing program with its stdout there.
func flood(b *testing.B, out *os.File) *exec.Cmd {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=flood", fmt.Sprintf("LOGS_TEST_LINES=%d", benchLines))
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// cpu is what this process has used.
func cpu(who int) time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(who, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkCat is the bar: the same program into `cat > file`.
func BenchmarkCat(b *testing.B) {
	path := filepath.Join(b.TempDir(), "cat.log")
	b.SetBytes(benchLines * lineLength)
	var used time.Duration
	for b.Loop() {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		cat := exec.Command("cat")
		cat.Stdin, cat.Stdout = r, f
		if err := cat.Start(); err != nil {
			b.Fatal(err)
		}
		cmd := flood(b, w)
		w.Close()
		r.Close()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := cat.Wait(); err != nil {
			b.Fatal(err)
		}
		used += cat.ProcessState.UserTime() + cat.ProcessState.SystemTime()
		f.Close()
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// BenchmarkPump is ours, rotated at 10 MB, ten files kept.
func BenchmarkPump(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.log")
	p, _ := startPump(b)
	s, w := openStream(b, p, Target{Path: path, Rotation: Rotation{MaxSize: 10 << 20, Retain: 10}})
	b.SetBytes(benchLines * lineLength)
	before := cpu(syscall.RUSAGE_SELF)
	for b.Loop() {
		if err := flood(b, w).Wait(); err != nil {
			b.Fatal(err)
		}
		flush(b, s)
	}
	b.ReportMetric((cpu(syscall.RUSAGE_SELF)-before).Seconds()/float64(b.N), "cpu-s/op")
}

// BenchmarkFormatted is the same with a time before each line, and as JSON.
func BenchmarkFormatted(b *testing.B) {
	for name, format := range map[string]Format{
		"time": {Layout: "YYYY-MM-DDTHH:mm:ss"}, "json": {JSON: true, App: "web"},
	} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "a.log")
			p, _ := startPump(b)
			s, w := openStream(b, p, Target{Path: path, Rotation: Rotation{MaxSize: 10 << 20, Retain: 10}, Format: format})
			b.SetBytes(benchLines * lineLength)
			b.ReportAllocs()
			before := cpu(syscall.RUSAGE_SELF)
			for b.Loop() {
				if err := flood(b, w).Wait(); err != nil {
					b.Fatal(err)
				}
				flush(b, s)
			}
			b.ReportMetric((cpu(syscall.RUSAGE_SELF)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// BenchmarkSteady is 10,000 lines a second in single writes, for two seconds: the figure is our CPU.
func BenchmarkSteady(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.log")
	p, _ := startPump(b)
	s, _ := openStream(b, p, Target{Path: path, Rotation: Rotation{MaxSize: 10 << 20, Retain: 10}})
	var share float64
	for b.Loop() {
		cmd := child(b, s, "LOGS_TEST_CHILD=steady")
		began, before := time.Now(), cpu(syscall.RUSAGE_SELF)
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		share += (cpu(syscall.RUSAGE_SELF) - before).Seconds() / time.Since(began).Seconds()
	}
	b.ReportMetric(100*share/float64(b.N), "%cpu")
}

// steady writes 10,000 lines a second for two seconds.
func steady(w io.Writer) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; n < 20_000; {
		<-tick.C
		for due := int(time.Since(began) / (100 * time.Microsecond)); n < due; n++ {
			w.Write(numbered(n))
		}
	}
}
