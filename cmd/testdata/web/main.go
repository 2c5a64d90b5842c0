// Web is the static program that the cluster tests run; web.js and web.py are the same for node and Python:
//
//	web [flags] ADDRESS...    an address: 3000, 127.0.0.1:3000, [::1]:3000, /a/unix.sock, fd:3 (a socket that was given);
//	                          none: $PORT
//
// It knows nothing of any process manager. Its answers say who gives them: X-Pid, X-Id (the request's own), and "PID ID" as
// body.
//
//	/             at once
//	/slow?ms=300  after so long
//	/pause?ms=300 header and half of the body, a pause, the rest
//	/hang         never, and nor does any other request or connection of this process get anything from now on
//
// With -account every request writes "ID begin" and "ID end" on stdout: what was executed twice or half can be counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

type web struct {
	account bool
	pid     string
	stuck   sync.RWMutex // /hang takes it for ever
	out     sync.Mutex
}

func main() {
	boot := flag.Int("boot-ms", 0, "pause before it listens")
	graceful := flag.Bool("graceful", false, "finish requests on SIGTERM and SIGINT; else they end it at once, as they do every program")
	w := &web{pid: strconv.Itoa(os.Getpid())}
	flag.BoolVar(&w.account, "account", false, "write the begin and the end of each request")
	flag.Parse()
	log.SetFlags(0)
	addresses := flag.Args()
	if len(addresses) == 0 {
		addresses = []string{os.Getenv("PORT")}
	}
	time.Sleep(time.Duration(*boot) * time.Millisecond)
	server := &http.Server{Handler: w}
	var all sync.WaitGroup
	for _, address := range addresses {
		l, err := listen(address)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("listening on", address)
		all.Go(func() { server.Serve(gate{l, w}) })
	}
	if *graceful {
		ends := make(chan os.Signal, 1)
		signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
		<-ends
		server.Shutdown(context.Background())
	}
	all.Wait()
}

func listen(address string) (net.Listener, error) {
	if fd, inherited := strings.CutPrefix(address, "fd:"); inherited {
		n, err := strconv.Atoi(fd)
		if err != nil {
			return nil, err
		}
		return net.FileListener(os.NewFile(uintptr(n), address))
	}
	if strings.Contains(address, "/") {
		_ = os.Remove(address) // of a process that was killed
		return net.Listen("unix", address)
	}
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	return net.Listen("tcp", address)
}

// gate lets nobody in while the program hangs.
type gate struct {
	net.Listener
	w *web
}

func (g gate) Accept() (net.Conn, error) {
	g.w.stuck.RLock()
	g.w.stuck.RUnlock()
	return g.Listener.Accept()
}

func (w *web) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	w.stuck.RLock()
	w.stuck.RUnlock()
	id := r.Header.Get("X-Id")
	w.say(id, "begin")
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
	wait := time.Duration(ms) * time.Millisecond
	first, rest := w.pid, " "+id+"\n"
	to.Header().Set("X-Pid", w.pid)
	to.Header().Set("X-Id", id)
	to.Header().Set("Content-Length", strconv.Itoa(len(first)+len(rest)))
	switch r.URL.Path {
	case "/slow":
		time.Sleep(wait)
	case "/hang":
		w.stuck.Lock()
		for { // busy, too
		}
	}
	fmt.Fprint(to, first)
	if r.URL.Path == "/pause" {
		to.(http.Flusher).Flush()
		time.Sleep(wait)
	}
	if _, err := fmt.Fprint(to, rest); err == nil {
		w.say(id, "end")
	}
}

func (w *web) say(id, what string) {
	if w.account {
		w.out.Lock()
		defer w.out.Unlock()
		fmt.Println(id, what)
	}
}
