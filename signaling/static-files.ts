import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Readable } from 'node:stream';
import { parseRange } from './byte-range.ts';

const MIME_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.wgsl': 'text/wgsl; charset=utf-8',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
};
const DEFAULT_MIME_TYPE = 'application/octet-stream';

/** The bundler puts a hash of the content into these names. */
const HASHED_ASSET = /^\/assets\/[^/]+-[\w-]{8,}\.\w+$/;
const CACHE_FOREVER = 'public, max-age=31536000, immutable';
/** Keep, but ask every time: an unchanged file is answered with 304. */
const REVALIDATE = 'no-cache';

interface FoundFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly modified: string;
}

/** A folder and the URL path under which its files are served; the path ends in a slash. */
export interface StaticRoot {
  readonly urlPath: string;
  readonly folder: string;
}

/**
 * Answers GET and HEAD from the first root that has the file: validators, ranges, index.html of folders.
 * @returns null when no root has it.
 */
export async function serveFile(request: Request, roots: readonly StaticRoot[]): Promise<Response | null> {
  const { pathname } = new URL(request.url);
  const path = decodePath(pathname);
  if (path === null) return null;
  for (const root of roots) {
    if (!path.startsWith(root.urlPath)) continue;
    const file = await findFile(root.folder, path.slice(root.urlPath.length));
    if (file === 'folder') {
      // A folder's page refers to its neighbours relatively, which needs the slash.
      return new Response(null, { status: 308, headers: { location: `${pathname}/` } });
    }
    if (file !== null) return answer(request, file, HASHED_ASSET.test(pathname));
  }
  return null;
}

/** @returns null for paths that are not valid, hidden, or try to leave the folder: none has a part that starts with a dot. */
function decodePath(pathname: string): string | null {
  let path: string;
  try {
    path = decodeURIComponent(pathname);
  } catch {
    return null;
  }
  const isOdd = path.includes('\0') || path.includes('\\');
  return isOdd || path.split('/').some((part) => part.startsWith('.')) ? null : path;
}

async function findFile(folder: string, relativePath: string): Promise<FoundFile | 'folder' | null> {
  const wanted = join(folder, relativePath);
  const asked = await statOrNull(wanted);
  if (asked?.isDirectory() === true) {
    const index = join(wanted, 'index.html');
    const page = await statOrNull(index);
    if (page?.isFile() !== true) return null;
    if (relativePath !== '' && !relativePath.endsWith('/')) return 'folder';
    return describe(index, page);
  }
  return asked?.isFile() === true ? describe(wanted, asked) : null;
}

async function statOrNull(path: string) {
  try {
    return await stat(path);
  } catch {
    return null;
  }
}

function describe(
  path: string,
  { size, mtimeMs, mtime }: { size: number; mtimeMs: number; mtime: Date },
): FoundFile {
  const etag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`;
  return { path, sizeBytes: size, etag, modified: mtime.toUTCString() };
}

function answer(request: Request, file: FoundFile, isHashed: boolean): Response {
  const headers = new Headers({
    'content-type': MIME_TYPES[extname(file.path).toLowerCase()] ?? DEFAULT_MIME_TYPE,
    'cache-control': isHashed ? CACHE_FOREVER : REVALIDATE,
    'accept-ranges': 'bytes',
    etag: file.etag,
    'last-modified': file.modified,
  });
  if (matches(request.headers.get('if-none-match'), file.etag))
    return new Response(null, { status: 304, headers });

  const ifRange = request.headers.get('if-range');
  const rangeHeader = ifRange === null || ifRange === file.etag ? request.headers.get('range') : null;
  const range = parseRange(rangeHeader, file.sizeBytes);
  if (range === 'unsatisfiable') {
    headers.set('content-range', `bytes */${file.sizeBytes}`);
    return new Response(null, { status: 416, headers });
  }
  const { start, end } = range ?? { start: 0, end: file.sizeBytes };
  headers.set('content-length', String(end - start));
  if (range !== null) headers.set('content-range', `bytes ${start}-${end - 1}/${file.sizeBytes}`);
  const body = request.method === 'HEAD' || end === start ? null : readPart(file.path, start, end);
  return new Response(body, { status: range === null ? 200 : 206, headers });
}

function matches(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false;
  return ifNoneMatch.split(',').some((candidate) => ['*', etag, `W/${etag}`].includes(candidate.trim()));
}

function readPart(path: string, start: number, end: number): ReadableStream {
  return Readable.toWeb(createReadStream(path, { start, end: end - 1 })) as ReadableStream;
}
