package consul

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/hashicorp/consul/api"
)

// This file has what can be wrong with an agent, or with somebody who only looks like one,
// as it is said to people.

// wary is a way to an agent that takes nobody else for one, and that asks with the token
// that a file has now: such files are rewritten.
type wary struct {
	way       http.RoundTripper
	tokenFile string // "" = none
}

// RoundTrip is http.RoundTripper's.
func (w wary) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, err := os.ReadFile(w.tokenFile); w.tokenFile != "" && err == nil && len(token) > 0 { // else it is being rewritten
		r = r.Clone(r.Context())
		r.Header.Set("X-Consul-Token", strings.TrimSpace(string(token)))
	}
	answer, err := w.way.RoundTrip(r)
	switch {
	case err != nil:
		return nil, err
	case isStranger(answer):
		_ = answer.Body.Close()
		return nil, fmt.Errorf("no agent of Consul answers there, but somebody else: %s", answer.Status)
	case answer.StatusCode < http.StatusBadRequest, answer.StatusCode == http.StatusNotFound:
		return answer, nil
	}
	// The library has some of its questions forget what was said, and what the status was.
	const most = 4 << 10
	text, _ := io.ReadAll(io.LimitReader(answer.Body, most)) // an error: it is as much as there is
	_ = answer.Body.Close()
	return nil, api.StatusError{Code: answer.StatusCode, Body: string(text)}
}

// isStranger says that an answer is a web server's, or a proxy's. That a key isn't there,
// or a session, is to be believed to an agent alone: it has its headers on it.
func isStranger(answer *http.Response) bool {
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		return answer.StatusCode < http.StatusMultipleChoices || answer.StatusCode >= http.StatusBadRequest // stay is asked about the others
	}
	for name := range answer.Header {
		if strings.HasPrefix(name, "X-Consul-") {
			return false
		}
	}
	return answer.StatusCode == http.StatusNotFound
}

// stay follows nobody to another place: the token is for the first.
func stay(to *http.Request, _ []*http.Request) error {
	return fmt.Errorf("no agent of Consul answers there: it sends us to %s://%s", to.URL.Scheme, to.URL.Host)
}

// errHollow is for an answer that is JSON, and lacks what every agent says.
var errHollow = errors.New("no agent of Consul answers there, but somebody else: what every agent says is missing in the answer")

// wantsHTTPS is the one status that is about how we speak.
func wantsHTTPS(s api.StatusError) bool {
	return s.Code == http.StatusBadRequest && strings.Contains(s.Body, "HTTP request to an HTTPS server")
}

// isRefusal says whether a status that means trouble in the agent means what was asked
// of it: asked again, it says the same.
func isRefusal(body string) bool {
	return strings.Contains(body, "invalid session") || strings.Contains(body, "Invalid Session")
}

// anonymous is who asks without a token.
const anonymous = "AccessorID '00000000-0000-0000-0000-000000000002'"

// explainStatus says what an agent has answered.
func explainStatus(s api.StatusError) string {
	text := strings.TrimSpace(s.Body)
	if text == "" {
		text = http.StatusText(s.Code)
	}
	switch {
	case wantsHTTPS(s):
		return "it wants HTTPS: write https:// before the address, or CONSUL_HTTP_SSL=true"
	case kindOf(s) != KindDenied:
		return fmt.Sprintf("%d %s", s.Code, text)
	case strings.Contains(text, "ACL not found"):
		return fmt.Sprintf("%d %s: it doesn't know the token (token, token_file, or CONSUL_HTTP_TOKEN)", s.Code, text)
	case strings.Contains(text, anonymous), strings.Contains(text, "anonymous token"):
		return fmt.Sprintf("%d %s: it wants a token (token, token_file, or CONSUL_HTTP_TOKEN)", s.Code, text)
	}
	return fmt.Sprintf("%d %s: the token may not do that", s.Code, text)
}

// explainRest says why nobody answers, or not to us; "": the error says it best itself.
func explainRest(err error) string {
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	var lookup *net.DNSError
	var syntax *json.SyntaxError
	_, alert, isAlert := strings.Cut(err.Error(), "remote error: tls: ")
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate isn't valid at what this machine takes for now (%v): a new one, or the right time", invalid)
	case isAlert:
		return fmt.Sprintf("it doesn't accept our certificate (%s): cert_file and key_file, or CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY", alert)
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Sprintf("there is no host %s", lookup.Name)
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return fmt.Sprintf("nobody there accepts connections (waited %v)", dialLimit)
	case errors.As(err, &op) && op.Net == "unix" && errors.Is(err, syscall.ENOENT):
		return "there is no such socket: no agent listens there"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", requestLimit)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.HasSuffix(err.Error(), "EOF"):
		return "the connection ended in the middle of an answer"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was broken off"
	case errors.As(err, &syntax):
		return fmt.Sprintf("no agent of Consul answers there, but somebody else (%v)", syntax)
	}
	return ""
}
