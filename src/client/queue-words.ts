/** What a person reads while an answer waits for room on the mesh. @param position in the queue; 1 is next. */
export function queueWords(position: number): string {
  if (position <= 1) return 'Waiting: your answer is next';
  const before = position - 1;
  return `Waiting: ${before} ${before === 1 ? 'answer' : 'answers'} before yours`;
}
