package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

const (
	// VersionHeader carries the sender's version in every request and every answer.
	VersionHeader = "Gopm-Version"
	// TroubleHeader is in an answer what is wrong with the daemon itself.
	TroubleHeader = "Gopm-Trouble"
)

// Client talks to the daemon of one home. It links nothing of the daemon.
//
// The socket outlives the daemon: the keeper holds it, and who connects while there
// is no daemon waits for the next one. So a question that was cut off is asked again; an
// order is not, since nobody knows whether it was carried out, unless the daemon has
// answered that it was not (KindAgain).
type Client struct {
	home    Home
	dial    func(context.Context) (io.ReadWriteCloser, error)
	where   string // the machine, unless it is this one
	version string
	other   func(daemon string) // told of the first daemon that answers, if it is of another version
	trouble func(text string)   // told once of what is wrong with the daemon, and of its silence
	silence silence
}

// NewClient does not connect yet.
func NewClient(h Home, version string, other func(daemon string)) *Client {
	dial := func(context.Context) (io.ReadWriteCloser, error) { return h.Dial() }
	return &Client{home: h, dial: dial, version: version, other: other, silence: usualSilence}
}

// NewRemote talks to the daemon of another machine. Whoever dials sees to it that a
// connection that is lost ends: a second one, to ask whether anybody is there, would say
// nothing about the first.
func NewRemote(where, version string, dial func(context.Context) (io.ReadWriteCloser, error)) *Client {
	return &Client{where: where, dial: dial, version: version}
}

// OnTrouble has f told if something is wrong with the daemon itself: it can't write its
// state, or it doesn't answer.
func (c *Client) OnTrouble(f func(text string)) { c.trouble = f }

// Home is the home this client talks to.
func (c *Client) Home() Home { return c.home }

// Get asks for path with the query and decodes the answer into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	return c.insist(func() error {
		body, err := c.do(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			return err
		}
		defer body.Close()
		return decode(body, out)
	})
}

// Text asks for path and returns the answer as it comes.
func (c *Client) Text(ctx context.Context, path string) (text []byte, err error) {
	err = c.insist(func() error {
		body, err := c.do(ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			return err
		}
		defer body.Close()
		if text, err = io.ReadAll(body); isCut(err) {
			return errCut
		}
		return err
	})
	return text, err
}

// Post sends in and decodes the answer into out.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	const limit, pause = 20 * time.Second, 20 * time.Millisecond // a new daemon has 15 s to come up
	deadline := time.Now().Add(limit)
	for {
		err := c.order(ctx, path, in, out)
		var answer *Error
		if !errors.As(err, &answer) || answer.Kind != KindAgain || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// order is one Post, answered or not.
func (c *Client) order(ctx context.Context, path string, in, out any) error {
	body, err := c.do(ctx, http.MethodPost, path, nil, in)
	if err == nil {
		defer body.Close()
		err = decode(body, out)
	}
	if !errors.Is(err, errCut) {
		return err
	}
	if conn, dialErr := c.dial(ctx); dialErr == nil {
		conn.Close()
		return errors.New("the daemon was restarted before it answered; what it has done: see gopm ls")
	}
	return fmt.Errorf("the daemon ended before it answered; its log: %s", c.log())
}

// errCut says that the connection broke before the answer was complete.
var errCut = errors.New("the daemon ended before it answered")

// patience is how often a question is asked that is cut off each time without a
// word of an answer: it may be what ends the daemon.
const patience = 10

// insist asks until the answer is complete.
func (c *Client) insist(ask func() error) (err error) {
	const limit, pause = 20 * time.Second, 20 * time.Millisecond
	deadline := time.Now().Add(limit)
	for cuts := 0; cuts < patience; {
		err = ask()
		var answer *Error
		switch {
		case errors.Is(err, errCut):
			cuts++
		case errors.As(err, &answer) && answer.Kind == KindAgain && time.Now().Before(deadline):
			time.Sleep(pause) // whoever has no more patience ends what it asks with, and so this
		default:
			return err
		}
	}
	return fmt.Errorf("%w, %d times in a row; its log: %s", err, patience, c.log())
}

// log is where the daemon's log is.
func (c *Client) log() string {
	if c.where != "" {
		return "gopm.log in its home on " + c.where
	}
	return c.home.Log()
}

// Targeted is the query for some targets.
func Targeted(targets ...string) url.Values { return url.Values{"target": targets} }

func (c *Client) do(ctx context.Context, method, path string, query url.Values, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the request: %v", err)
		}
		body = bytes.NewReader(b)
	}
	u := url.URL{Scheme: "http", Host: "gopm", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp.Body, nil
}

// roundTrip is one request on a connection of its own. A command makes one or two:
// http.Transport's pool, and the goroutines it takes, would serve nothing here.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	conn, err := c.dial(req.Context())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() { conn.Close() })
	hangUp := func() error {
		stop()
		return conn.Close()
	}
	req.Close = true
	req.Header.Set(VersionHeader, c.version)
	unsent := req.Write(conn) // who refuses us answers without reading all of it
	const answer = 64 << 10   // the list of 100 instances in one read
	waited := c.mind(req.Context(), conn)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, answer), req)
	if hung := waited(); hung != nil {
		err = hung
	}
	if err != nil {
		err = cmp.Or(unsent, err)
		hangUp()
		return nil, err
	}
	resp.Body = &connBody{resp.Body, hangUp}
	c.compare(resp.Header.Get(VersionHeader))
	if tell, text := c.trouble, resp.Header.Get(TroubleHeader); tell != nil && text != "" {
		c.trouble = nil
		tell(text)
	}
	return resp, nil
}

// compare tells of a daemon of another version; not of one that comes later, by an
// update: the advice would be wrong then.
func (c *Client) compare(daemon string) {
	if other := c.other; other != nil && daemon != "" {
		c.other = nil
		if daemon != c.version {
			other(daemon)
		}
	}
}

// connBody ends the connection with the body.
type connBody struct {
	io.ReadCloser
	hangUp func() error
}

func (b *connBody) Close() error { return b.hangUp() }

// explain turns a failed connection into what it means.
func (c *Client) explain(ctx context.Context, err error) error {
	var hung *HungError
	var stranger *StrangerError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &hung):
		return hung
	case errors.As(err, &stranger):
		return stranger
	case isCut(err):
		return errCut
	case c.where != "":
		return err // whoever dials knows the machine
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.ENOTDIR):
		return &NoDaemonError{Home: c.home.Dir, Why: err}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot use the home %s: permission denied; it belongs to another user: set GOPM_HOME to a folder of your own", c.home.Dir)
	}
	return fmt.Errorf("cannot talk to the daemon at %s: %v", c.home.Socket(), err)
}

// isCut says whether an error of a connection is that the other side is gone.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func readError(resp *http.Response) error {
	if resp.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
		return errors.New("the request is too long for the daemon: name fewer targets at one time, or a namespace or /pattern/ in place of them")
	}
	var e Error
	if err := decode(resp.Body, &e); err != nil || e.Message == "" {
		return fmt.Errorf("the daemon answered %s; is it of another version? gopm ping", resp.Status)
	}
	return &e
}

func decode(r io.Reader, out any) error {
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(r).Decode(out); isCut(err) {
		return errCut
	} else if err != nil {
		return fmt.Errorf("cannot read the daemon's answer: %v", err)
	}
	return nil
}
