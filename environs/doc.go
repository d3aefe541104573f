// Package environs makes the environment of a command in which FTP clients go through proxies of ours, without a change to the files
// of the person who runs it: variables that clients read, and files that those variables name, which have what is in the
// person's own files in them. It knows nothing of what the proxies do, and runs nothing.
package environs
