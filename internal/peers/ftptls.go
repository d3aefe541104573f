package peers

import (
	"fmt"
)

// FTPTLS has a server refuse whoever doesn't speak TLS, on the control connection and on data connections. vsftpd and proftpd
// want the latter to resume the session of the former; pure-ftpd doesn't care.
type FTPTLS struct {
	Identity Identity
	Implicit bool // from the first byte on; pure-ftpd can't
}

// lines returns the configuration of TLS.
func (c *FTPTLS) lines(kind FTPServer, folder string) ([]string, error) {
	if c == nil {
		return nil, nil
	}
	file := c.Identity.Path
	switch kind {
	case VSFTPD:
		return []string{
			"ssl_enable=YES",
			"allow_anon_ssl=YES",
			"force_anon_logins_ssl=YES",
			"force_anon_data_ssl=YES",
			"force_local_logins_ssl=YES",
			"force_local_data_ssl=YES",
			"require_ssl_reuse=YES",
			"strict_ssl_read_eof=YES", // otherwise it takes a half upload for the whole
			"ssl_ciphers=HIGH",
			"rsa_cert_file=" + file,
			"rsa_private_key_file=" + file,
			"implicit_ssl=" + map[bool]string{true: "YES", false: "NO"}[c.Implicit],
			"debug_ssl=YES",
		}, nil
	case PureFTPD:
		if c.Implicit {
			return nil, fmt.Errorf("%s has no implicit TLS", kind)
		}
		return []string{"--tls=3", "--certfile=" + file}, nil
	}
	load, err := Module("mod_tls")
	if err != nil {
		return nil, err
	}
	options := ""
	if c.Implicit {
		options = "TLSOptions UseImplicitSSL"
	}
	return append(
		load,
		"TLSEngine on",
		"TLSRequired on",
		"TLSProtocol TLSv1.2 TLSv1.3",
		"TLSECCertificateFile "+file,
		"TLSECCertificateKeyFile "+file,
		"TLSVerifyClient off",
		"TLSLog "+folder+"/tls.log",
		options,
	), nil
}
