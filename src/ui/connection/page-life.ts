import type { Contributor } from '../../contributor/contributor.ts';
import type { MeshConnection, OwnedSession } from '../../mesh/mesh-connection.ts';

/** What tells of a page's life: `window` and `document`. `freeze` and `resume` are Chromium's. */
export interface PageLifeEvents {
  readonly window: EventTarget;
  readonly document: EventTarget;
  /** Begins the page anew. */
  readonly reload: () => void;
}

/** Says goodbye when the page goes, and steps aside while the browser has it frozen. */
export function followPageLife(
  connection: Pick<MeshConnection<OwnedSession>, 'dispose'>,
  contributor: Pick<Contributor, 'leave' | 'freeze' | 'thaw'>,
  { window, document, reload }: PageLifeEvents,
): void {
  // A page that just vanishes is missed only after seconds of silence; one that hangs up, at once. The server is told first:
  // it gives no route over this page while its neighbours look for another.
  window.addEventListener('pagehide', () => {
    contributor.leave();
    connection.dispose();
  });
  // Brought back from the back-forward cache, it is a page without connections.
  window.addEventListener('pageshow', (event) => {
    if ((event as PageTransitionEvent).persisted) reload();
  });
  document.addEventListener('freeze', () => contributor.freeze());
  document.addEventListener('resume', () => contributor.thaw());
}
