/** Closer to the end than this counts as at the end: a line more or less is no wish to read elsewhere. */
const NEAR_PX = 48;

/** Keeps the end of a scrolling element in view while its content grows or its room shrinks, until the person scrolls away. */
export class FollowEnd {
  readonly #scroller: HTMLElement;
  #isFollowing = false;

  constructor(scroller: HTMLElement, content: HTMLElement) {
    this.#scroller = scroller;
    let lastTop = 0;
    scroller.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = scroller;
      if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.#isFollowing = true;
      // Only a way up is a person's: the end also gets farther when the content has grown since.
      else if (scrollTop < lastTop) this.#isFollowing = false;
      lastTop = scrollTop;
    });
    const observer = new ResizeObserver(() => {
      if (this.#isFollowing) this.follow();
    });
    observer.observe(content);
    observer.observe(scroller);
  }

  /** Goes to the end and stays there. */
  follow(): void {
    this.#isFollowing = true;
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight });
  }
}
