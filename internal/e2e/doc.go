// Package e2e has the tests of the whole: culvert and culvertd as the processes that people run, with real FTP
// servers, FTP clients and OpenSSH around them. There is nothing to call here.
package e2e
