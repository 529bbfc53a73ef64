// Package stores opens a lake by its URL: the one place that knows all kinds of store.
package stores

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/blob"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/connectors/store/retry"
)

var (
	memMu sync.Mutex
	mems  = map[string]*mem.Bucket{}
)

// Open opens the location that rawURL names:
//
//	/data/lake, file:///data/lake     a folder of this machine; a relative path is taken from the working folder
//	s3://bucket/prefix?region=…       Amazon S3 and what speaks its protocol (blob.OpenS3)
//	gs://bucket/prefix                Google Cloud Storage (blob.OpenGCS)
//	azblob://container/prefix         Azure Blob Storage (blob.OpenAzure)
//	mem://name                        memory of this process, for trials and tests; the same name is the same bucket
//
// Opening asks nothing of the store, so that an error here is of the URL or of the configuration. Reads of remote stores
// are tried again when they fail for a moment.
func Open(ctx context.Context, rawURL string) (store.Bucket, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	if !ok || len(scheme) < 2 || strings.ContainsAny(scheme, "/\\.") { // C:\lake is no scheme
		if rawURL == "" {
			return nil, fmt.Errorf("open lake: the URL is empty")
		}
		return file.Open(rawURL)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "file":
		path, err := filePath(rest)
		if err != nil {
			return nil, fmt.Errorf("open lake %s: %w", rawURL, err)
		}
		return file.Open(path)
	case "mem":
		name := strings.Trim(rest, "/")
		memMu.Lock()
		defer memMu.Unlock()
		if mems[name] == nil {
			mems[name] = mem.New(name)
		}
		return mems[name], nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("open lake: %w", err)
	}
	if u.User != nil {
		return nil, fmt.Errorf("open lake %s://%s%s: a lake's URL is shown and kept as it is, so it holds no credentials; give them to the process, "+
			"as the tools of the store's vendor take them", scheme, u.Host, u.Path)
	}
	var b *blob.Bucket
	switch scheme {
	case "s3", "s3a":
		b, err = blob.OpenS3(ctx, u)
	case "gs":
		b, err = blob.OpenGCS(ctx, u)
	case "azblob":
		b, err = blob.OpenAzure(ctx, u)
	default:
		return nil, fmt.Errorf("open lake %s://…: there is no store of this kind (a path, file, s3, gs, azblob)", scheme)
	}
	if err != nil {
		return nil, err
	}
	return retry.Wrap(b, retry.Options{}), nil
}

// filePath reads what follows "file:".
func filePath(rest string) (string, error) {
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, path, _ := strings.Cut(after, "/")
		if host != "" && host != "localhost" {
			return "", fmt.Errorf("it names the host %q; a local folder is file:///folder", host)
		}
		rest = "/" + path
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", fmt.Errorf("it names no folder")
	}
	return filepath.FromSlash(path), nil
}
