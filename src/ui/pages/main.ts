import '../theme/tokens.css';
import '../chat/chat-page.ts';
