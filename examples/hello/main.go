// Package main of examples/hello is the smallest server worth supervising: it says
// on stderr where it listens, a line on stdout per request, and ends in order when
// it is told to. Each instance takes PORT (8080) + NODE_APP_INSTANCE.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func serve() error {
	port, err := number("PORT", 8080)
	if err != nil {
		return err
	}
	instance, err := number("NODE_APP_INSTANCE", 0)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: fmt.Sprintf(":%d", port+instance), ReadHeaderTimeout: 5 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s\n", r.Method, r.URL.Path)
		fmt.Fprintf(w, "hello from instance %d (pid %d)\n", instance, os.Getpid())
	})

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	drained := make(chan error, 1)
	go func() { // ended by a signal and its own deadline; waited for below
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		drained <- server.Shutdown(limit)
	}()
	fmt.Fprintf(os.Stderr, "listening on %s\n", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}

// number reads a variable that may be unset.
func number(name string, otherwise int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s=%q is not a number", name, text)
	}
	return n, nil
}
