package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gopm/daemon/api"
)

// route is one line of the API: what answers a method and path. A handler's value
// is sent as JSON; a stream sends values itself until its reader goes away.
type route struct {
	method, path string
	handle       func(*http.Request) (any, error)
	stream       func(*http.Request, func(any) error) error
}

func (d *Daemon) routes() []route {
	return []route{
		{"GET", api.PathPing, d.ping, nil},
		{"GET", api.PathInstances, nil, d.listInstances},
		{"GET", api.PathDetails, d.listDetails, nil},
		{"GET", api.PathOutput, d.lastOutput, nil},
		{"GET", api.PathWatch, nil, d.watch},
		{"GET", api.PathLogs, nil, d.followLogs},
		{"GET", api.PathEvents, nil, d.followEvents},
		{"POST", api.PathApply, posted(d.apply), nil},
		{"POST", api.PathStart, posted(d.start), nil},
		{"POST", api.PathRestart, posted(d.restart), nil},
		{"POST", api.PathReload, posted(d.reload), nil},
		{"GET", api.PathRoll, nil, d.followRoll},
		{"POST", api.PathRun, posted(d.runNow), nil},
		{"GET", api.PathRunning, nil, d.followRun},
		{"POST", api.PathLock, nil, d.lockFor},
		{"POST", api.PathLocked, posted(d.useLock), nil},
		{"POST", api.PathStop, posted(d.stop), nil},
		{"POST", api.PathDelete, posted(d.remove), nil},
		{"POST", api.PathReset, posted(d.reset), nil},
		{"POST", api.PathSignal, posted(d.signal), nil},
		{"POST", api.PathSend, posted(d.send), nil},
		{"POST", api.PathScale, posted(d.scale), nil},
		{"POST", api.PathFlush, posted(d.flush), nil},
		{"POST", api.PathReopen, posted(d.reopen), nil},
		{"GET", api.PathEnv, d.environments, nil},
		{"GET", api.PathConfig, d.configs, nil},
		{"POST", api.PathConfig, posted(d.retryValues), nil},
		{"POST", api.PathSave, d.save, nil},
		{"POST", api.PathResurrect, posted(d.resurrect), nil},
		{"POST", api.PathUpdate, d.replaceBinary, nil},
		{"POST", api.PathKill, d.kill, nil},
	}
}

// maxErrorText is how long an answer may be that is an error: one with a line for each
// of some hundred apps is not too long.
const maxErrorText = 64 << 10

func newServer(d *Daemon, o *door) *http.Server {
	mux := http.NewServeMux()
	for _, r := range append(d.routes(), d.fleetRoutes()...) {
		mux.Handle(r.method+" "+r.path, r)
	}
	mux.Handle("GET "+api.PathMetrics, d.meter)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, api.Errorf(api.KindNotFound, "no route %s %s: is the command line of another version than the daemon?", r.Method, r.URL.Path))
	})
	srv := &http.Server{Handler: d.introduced(o.guard(mux)), ReadHeaderTimeout: o.limits.headerTime, MaxHeaderBytes: maxHeader, ConnContext: introduce}
	srv.SetKeepAlivesEnabled(false) // a command asks once; what was refused takes no memory
	return srv
}

// introduced names our version in every answer, and what is wrong with us. In a
// request the version stays only if it is another: see posted.
func (d *Daemon) introduced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.VersionHeader, d.cfg.Version)
		if text := d.store.ails(); text != "" {
			w.Header().Set(api.TroubleHeader, text)
		}
		if r.Header.Get(api.VersionHeader) == d.cfg.Version {
			r.Header.Del(api.VersionHeader)
		}
		next.ServeHTTP(w, r)
	})
}

// drain lets the answers that are under way end, then closes what is left.
func drain(srv *http.Server, failed <-chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve: %v", err)
	}
	return nil
}

func (r route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.stream != nil {
		r.serveStream(w, req)
		return
	}
	v, err := r.handle(req)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a reader that went away concerns nobody
}

// serveStream sends values as lines. An error before the first value is a status.
func (r route) serveStream(w http.ResponseWriter, req *http.Request) {
	begun := false
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	err := r.stream(req, func(v any) error {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		if err := enc.Encode(v); err != nil {
			return err
		}
		return flush.Flush()
	})
	switch {
	case err != nil && !begun:
		fail(w, err)
	case err != nil:
		panic(http.ErrAbortHandler) // cut off, so that the reader does not take it for complete
	}
}

func fail(w http.ResponseWriter, err error) {
	var known *api.Error
	if !errors.As(err, &known) {
		known = api.Errorf(api.KindInternal, "%v", err)
	}
	known = api.Errorf(known.Kind, "%s", cutText(known.Message, maxErrorText))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(known.Kind.Status())
	_ = json.NewEncoder(w).Encode(known)
}

// posted decodes a request's body and calls f. It is strict, so that a typing error of
// a program is not silently ignored, but not with a command line of another version: a
// later one may have fields that mean nothing here.
func posted[In, Out any](f func(context.Context, In) (Out, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var in In
		dec := json.NewDecoder(r.Body)
		if r.Header.Get(api.VersionHeader) == "" {
			dec.DisallowUnknownFields()
		}
		err := dec.Decode(&in)
		var refused *api.Error
		if errors.As(err, &refused) {
			return nil, refused
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, api.Errorf(api.KindInvalid, "cannot read the request: %v; is the command line of another version than the daemon?", err)
		}
		_, _ = io.Copy(io.Discard, r.Body) // to its end: from then on the end of the connection is seen
		return f(r.Context(), in)
	}
}
