package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certs are the files of an authority of a test's own, a server of 127.0.0.1 and
// localhost, and a client.
type Certs struct {
	CA, Server, ServerKey, Client, ClientKey string // paths

	pair  tls.Certificate // the client's
	roots *x509.CertPool
}

// NewCerts makes them in a folder.
func NewCerts(dir string) (*Certs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	c := &Certs{path("ca.pem"), path("server.pem"), path("server.key"), path("client.pem"), path("client.key"), tls.Certificate{}, x509.NewCertPool()}
	a, err := newAuthority()
	if err != nil {
		return nil, err
	}
	if err := writePEM(c.CA, "CERTIFICATE", a.cert.Raw); err != nil {
		return nil, err
	}
	if err := a.issue(c.Server, c.ServerKey, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	if err := a.issue(c.Client, c.ClientKey, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	c.roots.AddCert(a.cert)
	c.pair, err = tls.LoadX509KeyPair(c.Client, c.ClientKey)
	return c, err
}

func (c *Certs) config() *tls.Config {
	return &tls.Config{RootCAs: c.roots, Certificates: []tls.Certificate{c.pair}}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := template("an authority of a test")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(raw)
	return authority{cert, key}, err
}

// issue writes a certificate and its key.
func (a authority) issue(cert, key string, usage x509.ExtKeyUsage) error {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := template("localhost")
	template.DNSNames, template.IPAddresses = []string{"localhost", "server.dc1.consul"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return err
	}
	if err := writePEM(cert, "CERTIFICATE", raw); err != nil {
		return err
	}
	return writePEM(key, "PRIVATE KEY", secret)
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // rand.Reader never fails
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
}

func writePEM(path, kind string, raw []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600)
}
